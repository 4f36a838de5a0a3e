"""Nodes, databases, identities and clients, as fixtures."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from panda_node.web import rate_limit
from sqlalchemy import ClauseElement, Engine, Executable, TextClause, event
from sqlalchemy.dialects import oracle

from app.tests.api import Api
from app.tests.databases import MariaDB, Postgres
from app.tests.front import Front, serving
from app.tests.identities import Authority, Issuer, accept_tokens, certificate_headers
from app.tests.nodes import Node, NotifySocket
from app.tests.pilot import Pilot
from app.tests.waiting import eventually


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


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    if shutil.which("mariadb-install-db") is None:
        pytest.fail("the tests need a MariaDB server: apt-get install --no-install-recommends mariadb-server")
    directory = Path(tempfile.mkdtemp(prefix="panda-mariadb-"))
    server = MariaDB(directory)
    yield server
    server.stop()
    shutil.rmtree(directory)


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


@pytest.fixture
def systemd(tmp_path: Path) -> NotifySocket:
    return NotifySocket(tmp_path / "notify.sock")


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., None]:
    return eventually


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


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


@pytest.fixture(name="certificate_headers")
def _certificate_headers() -> Callable[..., dict[str, str]]:
    return certificate_headers


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


@pytest.fixture
def pilot(front: Front, authority: Authority, tmp_path: Path) -> Pilot:
    return Pilot(front.url, authority.issue("pilot"), authority.file, tmp_path / "pilot")


@pytest.fixture
def postgres_api(postgres_node: Node) -> Api:
    """The application on PostgreSQL, which is the strictest about what it stores."""
    return Api(postgres_node)


@pytest.fixture(name="serving")
def _serving() -> Callable[..., contextlib.AbstractContextManager[tuple[str, int]]]:
    return serving
