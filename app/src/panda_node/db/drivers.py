"""Opens connections to the four kinds of database. Only this module knows the drivers; each is imported when used."""

import re
import select
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from panda_node.config import DatabaseSettings
from panda_node.errors import ConfigurationError, DatabaseUnreachableError, PandaNodeError

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

CONNECT_TIMEOUT = 5
"""Seconds until an attempt to connect is given up."""
GRACE = 2
"""Seconds beyond a statement's limit in which the database's own refusal may still arrive."""


class Driver(Protocol):
    """What the rest of the package needs to know of a driver."""

    dialect: str
    """SQLAlchemy's name of it."""
    read_only: str
    """A statement that says "on" or 1 while the database takes no writes; empty if there is none."""

    def connect(self, database: DatabaseSettings, timeout: int, create: bool) -> "DBAPIConnection":
        """Opens a connection or raises the driver's own error."""

    def refused(self, error: Exception) -> bool:
        """The database does not let the account in: trying again does not help, and may lock it.

        A database that is not there or not open to us is none: it is so while it is restored or fails over."""

    def table_missing(self, error: BaseException | None) -> bool:
        """The statement failed because a table does not exist."""

    def busy(self, error: BaseException | None) -> bool:
        """The statement stood in another's way, took too long, or the database takes no writes at present; the same may
        succeed later."""


def connect(database: DatabaseSettings, timeout: int = CONNECT_TIMEOUT, create: bool = False) -> "DBAPIConnection":
    """Opens a connection; raises DatabaseUnreachableError, or ConfigurationError if the database refuses the account.

    `create` makes a missing SQLite file.
    """
    driver = DRIVERS[database.backend]
    try:
        return driver.connect(database, timeout, create)
    except PandaNodeError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        if driver.refused(error):
            raise ConfigurationError(
                [f"{database}: user {database.user} is refused: {reason}; check dbuser and dbpasswd"]
            ) from error
        raise DatabaseUnreachableError(f"{database}: unreachable: {reason}") from error


class Postgres:
    """PostgreSQL by psycopg2."""

    dialect = "postgresql+psycopg2"
    read_only = "SHOW transaction_read_only"

    def connect(self, database: DatabaseSettings, timeout: int, create: bool) -> "DBAPIConnection":
        import psycopg2.extensions

        # The server's own limit does not help when the server hangs, or its host does.
        psycopg2.extensions.set_wait_callback(_wait_for_postgres)
        limit = f"-c statement_timeout={database.call_timeout * 1000}" if database.call_timeout else ""
        connection: Any = psycopg2.connect(
            host=database.host,
            port=database.port,
            user=database.user,
            password=database.password,
            dbname=database.name,
            connect_timeout=timeout,
            options=limit,
            application_name="panda-node",
            # A peer that vanished without a word is noticed after about 30 s, not after the kernel's two hours.
            keepalives_idle=15,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30000,
            connection_factory=_postgres_connection(timeout),
        )
        connection.patience = database.call_timeout and database.call_timeout + GRACE
        return connection  # type: ignore[no-any-return]

    def refused(self, error: Exception) -> bool:
        # libpq gives no code for a failed login, only words.
        return bool(re.search('authentication failed|role ".*" does not exist|not permitted to log in', str(error)))

    def table_missing(self, error: BaseException | None) -> bool:
        return getattr(error, "pgcode", None) == "42P01"

    def busy(self, error: BaseException | None) -> bool:
        # Serialization failure, deadlock, lock not available, statement timeout, read-only.
        return getattr(error, "pgcode", None) in ("40001", "40P01", "55P03", "57014", "25006")


def _postgres_connection(patience: float) -> Any:
    import psycopg2.extensions

    return type("Connection", (psycopg2.extensions.connection,), {"patience": patience})


def _wait_for_postgres(connection: Any) -> None:
    """What psycopg2 calls to wait for an answer: gives up, and by that closes the connection, after its patience."""
    from psycopg2 import OperationalError
    from psycopg2.extensions import POLL_OK, POLL_READ

    patience = getattr(connection, "patience", None)  # a plugin's own connection has none
    deadline = None if patience is None else time.monotonic() + patience
    while (state := connection.poll()) != POLL_OK:
        wait = select.poll()
        wait.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not wait.poll(left):
            raise OperationalError(f"no answer within {patience:g} s")


class MySQL:
    """MySQL and MariaDB by PyMySQL."""

    dialect = "mysql+pymysql"
    read_only = "SELECT @@global.read_only"

    def connect(self, database: DatabaseSettings, timeout: int, create: bool) -> "DBAPIConnection":
        import pymysql

        connection: Any = pymysql.connect(
            host=database.host,
            port=database.port,
            user=database.user,
            password=database.password,
            database=database.name,
            charset="utf8mb4",
            connect_timeout=timeout,
            read_timeout=database.call_timeout,
            write_timeout=database.call_timeout,
            # An UPDATE then counts the rows it found, as in the other databases, not only those it changed.
            client_flag=pymysql.constants.CLIENT.FOUND_ROWS,
        )
        return connection  # type: ignore[no-any-return]

    def refused(self, error: Exception) -> bool:
        # Not 1049, unknown database, nor 1044, which is said instead to an account with rights on some databases only.
        return bool(error.args) and error.args[0] in (1045, 1698)

    def table_missing(self, error: BaseException | None) -> bool:
        return error is not None and bool(error.args) and error.args[0] == 1146

    def busy(self, error: BaseException | None) -> bool:
        return error is not None and bool(error.args) and error.args[0] in (1205, 1213, 1290, 1792, 3572)


class Oracle:
    """Oracle by python-oracledb in thin mode."""

    dialect = "oracle+oracledb"
    read_only = ""

    def connect(self, database: DatabaseSettings, timeout: int, create: bool) -> "DBAPIConnection":
        import oracledb

        # As in the public package, dbhost alone may be a whole connect string.
        dsn = f"{database.host}:{database.port}/{database.name}" if database.name else database.host
        connection: Any = oracledb.connect(
            user=database.user, password=database.password, dsn=dsn, tcp_connect_timeout=timeout, retry_count=0
        )
        if database.call_timeout:
            connection.call_timeout = database.call_timeout * 1000
        return connection  # type: ignore[no-any-return]

    def refused(self, error: Exception) -> bool:
        return any(code in str(error) for code in ("ORA-01017", "ORA-01045", "ORA-28000", "ORA-28001"))

    def table_missing(self, error: BaseException | None) -> bool:
        return "ORA-00942" in str(error)

    def busy(self, error: BaseException | None) -> bool:
        return any(code in str(error) for code in ("ORA-00060", "ORA-00054", "ORA-08177", "ORA-16000", "DPY-4024"))


class SQLite:
    """SQLite, for demonstrations and small nodes: one file, one writer at a time, readers beside it."""

    dialect = "sqlite+pysqlite"
    read_only = ""

    def connect(self, database: DatabaseSettings, timeout: int, create: bool) -> "DBAPIConnection":
        file = Path(database.name)
        if not file.parent.is_dir():
            raise ConfigurationError([f"{database}: there is no directory {file.parent}; create it or correct dbname"])
        uri = f"{file.as_uri()}?mode={'rwc' if create else 'rw'}"
        # isolation_level=None: pool.py says when a transaction begins, and of which kind.
        connection: Any = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
        return connection  # type: ignore[no-any-return]

    def refused(self, error: Exception) -> bool:
        return False

    def table_missing(self, error: BaseException | None) -> bool:
        return "no such table" in str(error)

    def busy(self, error: BaseException | None) -> bool:
        return "database is locked" in str(error)


DRIVERS: dict[str, Driver] = {"postgres": Postgres(), "mysql": MySQL(), "oracle": Oracle(), "sqlite": SQLite()}
