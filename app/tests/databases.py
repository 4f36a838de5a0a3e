"""Database servers of the tests' own."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pymysql

from app.tests.waiting import eventually, free_port

PASSWORD = "a%b$c'd"


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
