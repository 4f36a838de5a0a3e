"""A node in a temporary directory, on SQLite or on a PostgreSQL server of the tests' own."""

import ast
import contextlib
import http.server
import importlib
import io
import ipaddress
import itertools
import json
import os
import shlex
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
import wsgiref.simple_server
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import unquote

import jwt
import psycopg2
import pymysql
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from falcon import testing as falcon_testing
from panda_node import cli, config
from panda_node.config import Settings
from panda_node.daemon.job import JobContext
from panda_node.db import migrate
from panda_node.db.pool import Database
from panda_node.web import create_application, rate_limit
from panda_node.work import jobs as work
from sqlalchemy import ClauseElement, Engine, Executable, Table, TextClause, event, func, select, update
from sqlalchemy.dialects import oracle

PASSWORD = "a%b$c'd"


def eventually(statement: Callable[[], object], seconds: float = 10) -> None:
    """Waits until the statement is true."""
    deadline = time.monotonic() + seconds
    while not statement():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


class Postgres:
    """A PostgreSQL server with its own data, port and account."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._programs = programs
        # The server refuses to run as root.
        self._account: dict[str, Any] = (
            {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
        )
        if self._account:
            shutil.chown(directory, "nobody", "nogroup")
        password_file = directory / "password"
        password_file.write_text(PASSWORD)
        password_file.chmod(0o644)
        self._run("initdb", "--username=panda", "--auth=scram-sha-256", f"--pwfile={password_file}", "--no-sync")
        self._databases = 0

    def start(self) -> None:
        options = f"-p {self.port} -k {self.directory} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "--wait", "--silent", "--log", str(self.directory / "log"), "--options", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "--wait", "--silent", "--mode", "immediate", "stop")

    def _postmaster(self) -> int:
        return int((self.directory / "data/postmaster.pid").read_text().split()[0])

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """The server neither answers nor refuses, as behind a firewall that drops."""
        parent = self._postmaster()
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        processes = [parent, *map(int, children)]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def new_database(self) -> str:
        self._databases += 1
        name = f"panda_{self._databases}"
        with contextlib.closing(self.connect("postgres")) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {name}")
        return name

    def connect(self, database: str) -> Any:
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, user="panda", password=PASSWORD, dbname=database, connect_timeout=5
        )

    def _run(self, program: str, *arguments: str) -> None:
        command: list[str | Path] = [self._programs / program, "--pgdata", self.directory / "data", *arguments]
        # Not a pipe: the server inherits it and would hold it open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                command, cwd=self.directory, stdout=output, stderr=output, check=False, **self._account
            )
            output.seek(0)
            assert done.returncode == 0, output.read().decode()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "none")]
    if not programs[-1].exists():
        pytest.fail("the tests need a PostgreSQL server: apt-get install --no-install-recommends postgresql-15")
    directory = Path(tempfile.mkdtemp(prefix="panda-postgres-"))
    server = Postgres(directory, programs[-1].parent)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(directory)


class MariaDB:
    """A MariaDB server with its own data and port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._databases = 0
        account = "nobody" if os.geteuid() == 0 else os.environ.get("USER", "nobody")
        if os.geteuid() == 0:
            shutil.chown(directory, "nobody", "nogroup")
        data = f"--datadir={directory / 'data'}"
        install = ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run([*install, data, f"--user={account}"], check=True, capture_output=True)
        server = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        options = [f"--port={self.port}", f"--socket={directory / 'socket'}", "--bind-address=127.0.0.1"]
        self._process = subprocess.Popen(
            [server, "--no-defaults", data, f"--user={account}", *options, "--innodb-flush-log-at-trx-commit=0"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually((directory / "socket").exists, 30)
        self._execute(f"CREATE USER panda@'%' IDENTIFIED BY '{PASSWORD.replace(chr(39), chr(39) * 2)}'")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def new_database(self) -> str:
        self._databases += 1
        name = f"panda_{self._databases}"
        self._execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        self._execute(f"GRANT ALL ON {name}.* TO panda@'%'")
        return name

    def _execute(self, statement: str) -> None:
        with pymysql.connect(unix_socket=str(self.directory / "socket"), user="root") as connection:
            connection.cursor().execute(statement)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    if shutil.which("mariadb-install-db") is None:
        pytest.fail("the tests need a MariaDB server: apt-get install --no-install-recommends mariadb-server")
    directory = Path(tempfile.mkdtemp(prefix="panda-mariadb-"))
    server = MariaDB(directory)
    yield server
    server.stop()
    shutil.rmtree(directory)


@dataclass
class Node:
    """Configuration, logs and data of one node."""

    directory: Path
    server: dict[str, object]
    daemon: dict[str, object] = field(default_factory=lambda: {"enable": True})
    environment: dict[str, str] = field(default_factory=dict)
    _started: "list[subprocess.Popen[str]]" = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        for name in ("etc/panda", "log", "db"):
            (self.directory / name).mkdir(parents=True)
        self.environment = {
            "HOME": str(self.directory),
            "PANDA_HOME": str(self.directory),
            "PANDA_NODE_STATE_FILE": str(self.state_file),
            "PANDA_DB_PASSWORD": PASSWORD,
            "PATH": os.environ["PATH"],
            **self.environment,
        }
        self.state_file.write_text("production\n")
        self.write()

    @property
    def state_file(self) -> Path:
        return self.directory / "node_state"

    @property
    def cache(self) -> Path:
        return self.directory / "schedconfig"

    def write(self) -> None:
        """Writes the two cfg files."""
        server = {"schedconfig_cache_dir": self.cache, **self.server}
        sections = {"server": server, "daemon": self.daemon}
        text = ""
        for section, values in sections.items():
            text += f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
        (self.directory / "etc/panda/panda_server.cfg").write_text(text)
        (self.directory / "etc/panda/panda_common.cfg").write_text(f"[logger]\nlogdir = {self.directory / 'log'}\n")

    def settings(self) -> Settings:
        return config.load(self.environment)

    def popen(self, *command: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._started.append(process)
        return process

    def end_processes(self) -> None:
        """Ends what a failed test left running."""
        for process in self._started:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=10)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs a panda-node command in this process, which saves its start; stdout and stderr come together."""
        output = io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
        ):
            code = cli.main(arguments)
        return subprocess.CompletedProcess(arguments, code, output.getvalue())

    def install_schema(self) -> None:
        migrate.upgrade(self.settings().database)

    def log(self, name: str) -> str:
        """What a log file holds; nothing, as long as nobody has opened it."""
        file = self.directory / "log" / name
        return file.read_text() if file.exists() else ""

    def load_queues(self, queues: dict[str, object]) -> None:
        file = self.directory / "queues.json"
        file.write_text(json.dumps(queues))
        done = self.run("queue", "load", str(file))
        assert done.returncode == 0, done.stdout


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node on SQLite, its schema not yet installed."""
    node = Node(tmp_path / "node", {"backend": "sqlite", "dbname": tmp_path / "node/db/panda.db"})
    yield node
    node.end_processes()


@pytest.fixture
def postgres_node(tmp_path: Path, postgres: Postgres) -> Iterator[Node]:
    """A node on PostgreSQL, its schema not yet installed."""
    database = {"dbhost": "127.0.0.1", "dbport": postgres.port, "dbuser": "panda", "dbpasswd": "$PANDA_DB_PASSWORD"}
    name = {"dbname": postgres.new_database(), "nDBConnection": 2}
    node = Node(tmp_path / "postgres-node", {"backend": "postgres", **database, **name})
    yield node
    node.end_processes()


@pytest.fixture
def mariadb_node(tmp_path: Path, mariadb: MariaDB) -> Iterator[Node]:
    """A node on MariaDB, its schema not yet installed."""
    place = {"dbhost": "127.0.0.1", "dbport": mariadb.port, "dbuser": "panda", "dbpasswd": "$PANDA_DB_PASSWORD"}
    name = {"dbname": mariadb.new_database(), "nDBConnection": 2}
    node = Node(tmp_path / "mariadb-node", {"backend": "mysql", **place, **name})
    yield node
    node.end_processes()


NODES = {"sqlite": "node", "postgres": "postgres_node", "mariadb": "mariadb_node"}


@pytest.fixture(params=list(NODES))
def any_node(request: pytest.FixtureRequest) -> Node:
    """The same test on each database."""
    node = request.getfixturevalue(NODES[request.param])
    assert isinstance(node, Node)
    return node


class NotifySocket:
    """Stands in for systemd: collects what a service of Type=notify says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._messages: list[str] = []

    @property
    def messages(self) -> list[str]:
        """All messages so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._messages.append(self._socket.recv(4096, socket.MSG_DONTWAIT).decode())
        return self._messages


@pytest.fixture
def systemd(tmp_path: Path) -> NotifySocket:
    return NotifySocket(tmp_path / "notify.sock")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., None]:
    return eventually


class Authority:
    """A certificate authority of the tests' own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        self.certificate = self._sign(self.name, self.key.public_key(), authority=True)
        self.file = directory / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *parts: str) -> Path:
        """A file with certificate and key for /CN=<part>/CN=<part>..., or for a host."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, part) for part in parts or (name,)])
        certificate = self._sign(subject, key.public_key(), authority=False)
        file = self.directory / f"{name}.pem"
        pkcs8 = serialization.PrivateFormat.PKCS8
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption())
        )
        return file

    def revocations(self, *certificates: Path) -> str:
        """The list of the certificates that the authority has revoked, as PEM."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(now - timedelta(hours=1))
            .next_update(now + timedelta(hours=5))
        )
        for file in certificates:
            serial = x509.load_pem_x509_certificate(file.read_bytes()).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(revoked)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def _sign(self, subject: x509.Name, public_key: rsa.RSAPublicKey, authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        local = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=5))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if not authority:
            builder = builder.add_extension(x509.SubjectAlternativeName(local), critical=False)
        return builder.sign(self.key, hashes.SHA256())


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Issuer:
    """An OpenID Connect issuer over https: a discovery document and a key set."""

    def __init__(self, authority: Authority) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.requests: list[str] = []
        self.away = False
        self.delay = 0.0
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests.append(self.path)
                time.sleep(issuer.delay)
                documents = {"/.well-known/openid-configuration": issuer.discovery, "/jwks": issuer.jwks}
                self.send_response(503 if issuer.away or self.path not in documents else 200)
                self.end_headers()
                if self.path in documents:
                    self.wfile.write(json.dumps(documents[self.path]()).encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.issue("issuer"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()

    def discovery(self) -> dict[str, object]:
        return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}

    def jwks(self) -> dict[str, object]:
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": "key-1", "use": "sig", "alg": "RS256"}]}

    def token(self, kid: str = "key-1", key: Any = None, algorithm: str = "RS256", **claims: object) -> str:
        """A good token of Alice's; a claim that is None is left out."""
        now = int(time.time())
        usual = {
            "iss": self.url,
            "sub": "alice-sub",
            "aud": "panda-client",
            "iat": now,
            "exp": now + 3600,
            "name": "Alice smith",
            "preferred_username": "alice",
            "groups": ["/wlcg", "/wlcg/production"],
            **claims,
        }
        payload = {name: value for name, value in usual.items() if value is not None}
        return jwt.encode(payload, key or self.key, algorithm=algorithm, headers={"kid": kid})

    def configuration(self, vo: str = "wlcg", **more: object) -> dict[str, object]:
        """What an auth_config file holds."""
        url = f"{self.url}/.well-known/openid-configuration"
        ids = {"audience": "https://panda.example", "client_id": "panda-client", "client_secret": None}
        return {**ids, "oidc_config_url": url, "vo": vo, **more}


@pytest.fixture(scope="session")
def issuer(authority: Authority) -> Iterator[Issuer]:
    """The issuer; while it runs, this process trusts the tests' authority."""
    with mock.patch.dict(os.environ, {"SSL_CERT_FILE": str(authority.file)}):
        issuer = Issuer(authority)
        yield issuer
        issuer.close()


@pytest.fixture
def oidc_node(node: Node, issuer: Issuer, authority: Authority) -> Node:
    """A node on SQLite, schema installed, that takes certificates and tokens of wlcg; the pilot is production."""
    return accept_tokens(node, issuer, authority)


def accept_tokens(node: Node, issuer: Issuer, authority: Authority) -> Node:
    """Gives a node its auth_config and a production DN, and installs its schema."""
    directory = node.directory / "auth"
    directory.mkdir()
    (directory / "wlcg_auth_config.json").write_text(json.dumps(issuer.configuration()))
    settings = {"token_authType": "oidc", "auth_config": directory, "production_dns": "CN=pilot"}
    node.server.update(settings, cache_dir=node.directory / "pandacache", pserverhost="localhost")
    node.environment["SSL_CERT_FILE"] = str(authority.file)
    node.write()
    node.install_schema()
    return node


def certificate_headers(dn: str = "/DC=test/CN=alice", issuer_dn: str = "/DC=test/CN=Test CA") -> dict[str, str]:
    """What httpd's TLS virtual host says of a client with a good certificate."""
    return {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": dn, "X-SSL-Client-I-DN": issuer_dn}


@pytest.fixture(name="certificate_headers")
def _certificate_headers() -> Callable[..., dict[str, str]]:
    return certificate_headers


class Api:
    """A node's application, called as a client, a pilot and the daemon would."""

    def __init__(self, node: Node) -> None:
        node.server.update(production_dns="CN=pilot", cache_dir=node.directory / "pandacache", pserverhost="localhost")
        node.server.setdefault("heartbeat_timeout", 1000)
        node.write()
        node.install_schema()
        self.node = node
        self.settings = node.settings()
        self.client = falcon_testing.TestClient(create_application(self.settings))
        self.database = Database(self.settings.database)

    def get(self, method: str, query: str = "", who: str = "alice") -> Any:
        path = f"/api/v1/{method}?{query}" if query else f"/api/v1/{method}"
        answer = self.client.simulate_get(path, headers=certificate_headers(f"/DC=test/CN={who}"))
        assert answer.status_code == 200, answer.text
        return answer.json

    def post(self, method: str, who: str = "alice", **arguments: object) -> Any:
        headers = {**certificate_headers(f"/DC=test/CN={who}"), "Content-Type": "application/json"}
        answer = self.client.simulate_post(f"/api/v1/{method}", body=json.dumps(arguments), headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json

    def daemon(self, *names: str) -> list[str]:
        """Runs jobs of the daemon, in turn, and returns what they say."""
        modules = [importlib.import_module(f"panda_node.daemon.jobs.{name}") for name in names]
        return [module.run(JobContext(self.settings, self.database, ())) for module in modules]

    def submit(self, who: str = "alice", **changes: object) -> int:
        """A task as prun sends it; three jobs unless something else is said."""
        answer = self.post("task/submit", who, task_parameters={**TASK, **changes}, parent_tid=None)
        assert answer["success"], answer
        return int(answer["data"])

    def acquire(self, who: str = "pilot", **arguments: object) -> list[dict[str, Any]]:
        answer = self.post(
            "pilot/acquire_jobs", who, **{"site_name": "TEST_SITE", "prod_source_label": "user", **arguments}
        )
        return answer["data"]["jobs"] if answer["success"] else []

    def report(self, job_id: int, status: str, **more: object) -> Any:
        return self.post("pilot/update_job", "pilot", job_id=job_id, job_status=status, **more)

    def finish(self, job: dict[str, Any]) -> None:
        """Reports a job as done, with all its files."""
        names = [name for name in job["outFiles"].split(",") if name]
        entry = {"guid": "1234", "fsize": 5, "adler32": "abcd"}
        done = self.report(job["PandaID"], "finished", job_output_report=json.dumps(dict.fromkeys(names, entry)))
        assert done["data"] == {"StatusCode": 0, "command": "NULL"}

    def rows(self, table: Table) -> list[Any]:
        """What a table holds, by its key."""
        with self.database.reading("test") as connection:
            return list(connection.execute(select(table).order_by(table.primary_key.columns[0])).all())

    def age(self, seconds: int, *tables: Table) -> None:
        """Makes every row of the tables look as if it had last been heard of so long ago."""
        with self.database.writing("test") as connection:
            for table in tables:
                connection.execute(update(table).values(modified=work.now() - seconds))

    def count(self, table: Table) -> dict[str, int]:
        """How many rows a table has in each state."""
        with self.database.reading("test") as connection:
            rows = connection.execute(select(table.c.status, func.count()).group_by(table.c.status))
            return {row[0]: row[1] for row in rows}


TASK = {
    "taskName": "user.alice.test/",
    "uniqueTaskName": True,
    "vo": "wlcg",
    "architecture": None,
    "processingType": "panda-client-2.2.0-jedi-run",
    "prodSourceLabel": "user",
    "site": "TEST_SITE",
    "nEvents": 3,
    "nEventsPerJob": 1,
    "sourceURL": "https://localhost:25443",
    "log": {
        "dataset": "user.alice.test.log/",
        "type": "template",
        "param_type": "log",
        "value": "user.alice.test.log.$JEDITASKID.${SN}.log.tgz",
    },
    "jobParameters": [
        {"type": "constant", "value": '-j "" --sourceURL ${SURL}'},
        {"type": "constant", "value": "__delimiter__", "hidden": True},
        {
            "type": "template",
            "value": "user.alice.$JEDITASKID._${SN/P}.out.dat",
            "param_type": "output",
            "dataset": "user.alice.test_out.dat/",
            "hidden": True,
        },
        {"type": "constant", "value": '-p "', "padding": False},
        {"type": "constant", "value": "echo%20${SN}", "padding": False},
        {"type": "constant", "value": '"'},
    ],
    "noInput": True,
}


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def api(request: pytest.FixtureRequest) -> Api:
    """The application on each kind of database."""
    return Api(request.getfixturevalue(NODES[request.param]))


@pytest.fixture
def sqlite_api(node: Node) -> Api:
    """The application on SQLite, where the database makes no difference."""
    return Api(node)


@pytest.fixture(autouse=True)
def _nobody_has_asked_yet() -> None:
    """The counts of a node's processes outlive a test's application."""
    for table in (rate_limit.IDENTITIES, rate_limit.ADDRESSES):
        table[:] = bytes(len(table))


@pytest.fixture(autouse=True, scope="session")
def _every_statement_suits_oracle() -> Iterator[None]:
    """No Oracle is at hand, so at least every statement that any test runs has to compile for it."""
    dialect = oracle.dialect()
    seen: set[str] = set()

    def compile_it(connection: Any, statement: Any, *_: object) -> None:
        if connection.dialect.name != "sqlite" or isinstance(statement, TextClause):
            return
        if isinstance(statement, Executable) and isinstance(statement, ClauseElement) and str(statement) not in seen:
            seen.add(str(statement))
            statement.compile(dialect=dialect)

    event.listen(Engine, "before_execute", compile_it)
    yield
    event.remove(Engine, "before_execute", compile_it)


class Front:
    """Stands in for httpd: ends TLS, asks for a client certificate, and passes on in headers what it says."""

    def __init__(self, node: Node, authority: Authority) -> None:
        self.node = node
        self.authority = authority
        self.settings = node.settings()
        application = create_application(self.settings)
        cache = self.settings.cache_directory

        def with_cache(environ: dict[str, Any], start_response: Any) -> Any:
            name = environ["PATH_INFO"].removeprefix("/cache/")
            if name != environ["PATH_INFO"] and (cache / name).is_file():
                start_response("200 OK", [("Content-Type", "application/octet-stream")])
                return [(cache / name).read_bytes()]
            return application(environ, start_response)

        class Handler(wsgiref.simple_server.WSGIRequestHandler):
            def get_environ(self) -> dict[str, Any]:
                environ = super().get_environ()
                for name in [name for name in environ if name.startswith("HTTP_X_")]:
                    del environ[name]
                certificate = self.connection.getpeercert()
                environ["HTTP_X_SSL_CLIENT_VERIFY"] = "SUCCESS" if certificate else "NONE"
                for key, header in (("subject", "S"), ("issuer", "I")) if certificate else ():
                    parts = [f"/CN={value}" for part in certificate[key] for _, value in part]
                    environ[f"HTTP_X_SSL_CLIENT_{header}_DN"] = "".join(parts)
                return environ

            def log_message(self, *_: object) -> None:
                pass

        class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
            daemon_threads = True
            request_queue_size = 64

            def server_bind(self) -> None:
                socketserver.TCPServer.server_bind(self)  # without the look-up of our own name
                self.server_name, self.server_port = "localhost", self.server_address[1]
                self.setup_environ()

            def finish_request(self, request: Any, client_address: Any) -> None:
                request.do_handshake()
                super().finish_request(request, client_address)

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.set_app(with_cache)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
        context.load_cert_chain(authority.issue("host"))
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def front(request: pytest.FixtureRequest, issuer: Issuer, authority: Authority) -> Iterator[Front]:
    """A node with its daemon, over https, that takes certificates and tokens; on SQLite if nothing else is said."""
    node: Node = request.getfixturevalue(NODES[getattr(request, "param", "sqlite")])
    jobs = {name: {"period": 0.3} for name in ("split_tasks", "add_main", "close_tasks")}
    node.daemon.update(n_proc=3, config=json.dumps(jobs))
    node.server["nDBConnection"] = 4
    accept_tokens(node, issuer, authority)
    node.popen("panda_node.cli", "daemon")
    front = Front(node, authority)
    yield front
    front.close()


class Pilot:
    """A small pilot: takes jobs over https, runs their real command line, and reports."""

    def __init__(self, url: str, certificate: Path, authority: Path, directory: Path) -> None:
        self._url = url
        self._context = ssl.create_default_context(cafile=str(authority))
        self._context.load_cert_chain(certificate)
        self._directory = directory
        self.outputs: list[str] = []

    def call(self, method: str, **arguments: object) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        return json.loads(self._open(f"/api/v1/pilot/{method}", json.dumps(arguments).encode(), headers))

    def run(self, site: str, seconds: float = 30) -> int:
        """Takes and runs one job; waits for it so long."""
        deadline = time.monotonic() + seconds
        while not (answer := self.call("acquire_jobs", site_name=site, prod_source_label="user", node="test-node"))[
            "success"
        ]:
            assert answer["message"] == "No jobs in PanDA", answer
            assert time.monotonic() < deadline, "no job came"
            time.sleep(0.1)
        (job,) = answer["data"]["jobs"]
        number = int(job["PandaID"])
        for status in ("starting", "running"):
            assert self.call("update_job", job_id=number, job_status=status, attempt_nr=1)["data"]["command"] == "NULL"
        code, report = self._execute(job)
        status = "failed" if code else "finished"
        details = {"trans_exit_code": code, "job_output_report": json.dumps(report), "attempt_nr": 1}
        assert self.call("update_job", job_id=number, job_status=status, **details)["success"]
        return number

    def _execute(self, job: dict[str, Any]) -> tuple[int, dict[str, object]]:
        """What the transformation runGen does: fetch the sandbox, run the command, collect the outputs."""
        directory = self._directory / str(job["PandaID"])
        directory.mkdir(parents=True)
        options = shlex.split(job["jobPars"])
        value = dict(itertools.pairwise(options))
        archive = directory / "sandbox.tar.gz"
        archive.write_bytes(self._open(f"/cache/{value['-a']}", None, {}))
        subprocess.run(["tar", "--extract", f"--file={archive}", f"--directory={directory}"], check=True)
        done = subprocess.run(
            unquote(value["-p"]), shell=True, cwd=directory, capture_output=True, text=True, check=False
        )
        (directory / job["logFile"]).write_text(done.stdout + done.stderr)
        report = {}
        for made, name in {**ast.literal_eval(value["-o"]), job["logFile"]: job["logFile"]}.items():
            content = (directory / made).read_bytes()
            self.outputs.append(content.decode())
            report[name] = {"guid": str(uuid.uuid4()), "fsize": len(content), "adler32": f"{zlib.adler32(content):08x}"}
        return done.returncode, report

    def _open(self, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        request = urllib.request.Request(f"{self._url}{path}", data=body, headers=headers)
        with urllib.request.urlopen(request, context=self._context, timeout=30) as answer:
            content: bytes = answer.read()
        return content


@pytest.fixture
def pilot(front: Front, authority: Authority, tmp_path: Path) -> Pilot:
    return Pilot(front.url, authority.issue("pilot"), authority.file, tmp_path / "pilot")


@pytest.fixture
def postgres_api(postgres_node: Node) -> Api:
    """The application on PostgreSQL, which is the strictest about what it stores."""
    return Api(postgres_node)


@contextlib.contextmanager
def serving(node: Node, workers: int) -> Iterator[tuple[str, int]]:
    """gunicorn with so many workers, on a port of its own: its URL, and its process."""
    port = free_port()
    environment = {"PANDA_SERVER_CONF_NUM_WSGI": str(workers), "PANDA_WSGI_BIND": f"127.0.0.1:{port}"}
    environment["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(dir=node.directory)
    command = [sys.executable, "-m", "gunicorn", "--config", "python:panda_node.gunicorn_conf"]
    with (node.directory / f"gunicorn-{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "panda_node.wsgi:application"], env={**node.environment, **environment}, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/node/ready", timeout=2).close()
            return True
        return False

    try:
        eventually(ready, 30)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(40)


@pytest.fixture(name="serving")
def _serving() -> Callable[..., contextlib.AbstractContextManager[tuple[str, int]]]:
    return serving
