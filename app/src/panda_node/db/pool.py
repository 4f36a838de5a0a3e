"""A process's connections to the database, and the two ways to use one: reading and writing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, event, exc
from sqlalchemy.pool import QueuePool

from panda_node import log_files, metrics
from panda_node.config import DatabaseSettings
from panda_node.db import drivers
from panda_node.errors import DatabaseRefusalError, DatabaseUnreachableError, PandaNodeError

POOL_TIMEOUT = 10
"""Seconds that a request waits for a free connection of its process."""

IDLE_SECONDS = 1.0
"""A connection that was idle for longer is tried before it is used: a round trip, which busy workers are spared."""

_pool_log = log_files.get(log_files.POOL)
_statement_log = log_files.get(log_files.STATEMENTS)


class Database:
    """The pool of this process. To be made after a fork, never before: connections cannot be shared."""

    def __init__(self, settings: DatabaseSettings, create: bool = False) -> None:
        self.settings = settings
        self.driver = drivers.DRIVERS[settings.backend]
        self._create = create
        self.engine = create_engine(
            f"{self.driver.dialect}://",
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT,
            # MySQL's own default locks the gaps between rows too, by which pilots would block each other.
            **({"isolation_level": "READ COMMITTED"} if settings.backend == "mysql" else {}),
            pool_recycle=3600,
        )
        self.skips_locked = settings.backend in ("postgres", "mysql")
        """Whether a reader of rows can pass over those that another transaction holds."""
        event.listen(self.engine, "checkout", self._check_out)
        event.listen(self.engine, "checkin", _check_in)
        if settings.backend == "sqlite":
            event.listen(self.engine, "begin", _begin_sqlite)
        metrics.POOL_SIZE.set(settings.pool_size)
        _pool_log.info("pool of %d for %s", settings.pool_size, settings)

    @contextmanager
    def reading(self, purpose: str) -> Iterator[Connection]:
        """A transaction that only reads; `purpose` names it in the log."""
        with self._transaction(purpose, writes=False) as connection:
            yield connection

    @contextmanager
    def writing(self, purpose: str) -> Iterator[Connection]:
        """A transaction that is committed at the end, or rolled back if an exception leaves it."""
        with self._transaction(purpose, writes=True) as connection:
            yield connection

    def close(self) -> None:
        """Closes all idle connections."""
        self.engine.dispose()

    def _check_out(self, connection: Any, record: Any, _: Any) -> None:
        """Tries a connection that has been idle; one that has just been used is as good as tried."""
        used = record.info.get("used")
        if used is not None and time.monotonic() - used > IDLE_SECONDS:
            try:
                alive = self.engine.dialect.do_ping(connection)
            except self.engine.dialect.loaded_dbapi.Error:
                alive = False
            if not alive:
                raise exc.DisconnectionError  # the pool then opens another
        record.info["counted"] = True
        metrics.POOL_IN_USE.inc()

    def _connect(self) -> Any:
        start = time.monotonic()
        try:
            connection = drivers.connect(self.settings, create=self._create)
        except PandaNodeError as error:
            _pool_log.error("%s", error)
            raise
        _pool_log.info("connected to %s in %.3f s", self.settings, time.monotonic() - start)
        return connection

    @contextmanager
    def _transaction(self, purpose: str, writes: bool) -> Iterator[Connection]:
        start = time.monotonic()
        try:
            with self.engine.execution_options(panda_writes=writes).begin() as connection:
                yield connection
        except exc.TimeoutError as error:
            _pool_log.error(
                "%s: no free connection within %d s; consider a larger nDBConnection", purpose, POOL_TIMEOUT
            )
            raise DatabaseUnreachableError(
                f"{self.settings}: all {self.settings.pool_size} connections are busy"
            ) from error
        except exc.DBAPIError as error:
            reason = " ".join(str(error.orig).split())
            _statement_log.error("%s: %s", purpose, reason)
            if error.connection_invalidated:
                raise DatabaseUnreachableError(f"{self.settings}: connection lost: {reason}") from error
            if self.driver.busy(error.orig):
                raise DatabaseUnreachableError(f"{self.settings}: busy: {reason}") from error
            raise DatabaseRefusalError(f"{self.settings}: {purpose}: {reason}") from error
        _statement_log.debug("%s: %.3f s", purpose, time.monotonic() - start)


def _check_in(_: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()
    if record.info.pop("counted", False):  # not if it was given up before anybody had it
        metrics.POOL_IN_USE.dec()


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its place at once: a reader that turned writer would fail if another wrote meanwhile.
    writes = connection.get_execution_options().get("panda_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
