"""The schema's version: the one this release needs, and whether the database has it.

The check talks to the driver directly. It runs before every start of the services, and importing SQLAlchemy alone takes
several times as long as the whole check.
"""

import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from panda_node.config import DatabaseSettings
from panda_node.db import drivers
from panda_node.errors import DatabaseRefusalError, DatabaseUnreachableError, PandaNodeError, SchemaMismatchError
from panda_node.timed import TimedCall

COMPONENT = "panda-node"
SELECT = "SELECT major, minor, patch FROM pandadb_version WHERE component = 'panda-node'"
UPGRADE_HINT = "run 'panda-node schema upgrade'"


class Version(NamedTuple):
    """Major: incompatible change. Minor: additions. Patch: corrections."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


REQUIRED = Version(1, 2, 0)


def judge(installed: Version | None) -> Version:
    """Returns the installed version if this release can work with it, else raises SchemaMismatchError.

    A newer schema of the same major version is good: during a rolling upgrade old releases run on the new schema.
    """
    if installed is None:
        raise SchemaMismatchError(f"no schema is installed, this release needs {REQUIRED}; {UPGRADE_HINT}")
    if installed.major > REQUIRED.major:
        raise SchemaMismatchError(f"installed is {installed}, this release needs {REQUIRED}; install a newer release")
    if installed < REQUIRED:
        raise SchemaMismatchError(f"installed is {installed}, this release needs {REQUIRED}; {UPGRADE_HINT}")
    return installed


def check(database: DatabaseSettings, timeout: int = drivers.CONNECT_TIMEOUT, wait: float = 0) -> Version:
    """Returns the installed version if it is good; asks an unreachable database again for `wait` seconds."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return judge(installed(database, timeout))
        except DatabaseUnreachableError:
            if time.monotonic() + 1 >= deadline:
                raise
            time.sleep(1)


def installed(database: DatabaseSettings, timeout: int = drivers.CONNECT_TIMEOUT) -> Version | None:
    """Returns the version that the database has, or None; asks once, and waits no longer than twice the timeout."""
    try:
        return TimedCall(lambda: _installed(database, timeout)).result(2 * timeout)
    except TimeoutError as error:
        raise DatabaseUnreachableError(f"{database}: {error}") from error


def _installed(database: DatabaseSettings, timeout: int) -> Version | None:
    driver = drivers.DRIVERS[database.backend]
    if database.backend == "sqlite" and Path(database.name).parent.is_dir() and not Path(database.name).exists():
        return None
    with closing(drivers.connect(database, timeout)) as connection:
        cursor = connection.cursor()
        try:
            cursor.execute(SELECT)
            row = cursor.fetchone()
        except PandaNodeError:
            raise
        except Exception as error:
            if driver.table_missing(error):
                return None
            raise DatabaseRefusalError(f"{database}: cannot read the schema's version: {error}") from error
    return Version(*row) if row else None
