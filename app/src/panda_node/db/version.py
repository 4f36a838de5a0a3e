"""The schema's version: the one this release needs, and whether the database has it.

The check talks to the driver directly. It runs before every start of the services, and importing SQLAlchemy alone takes
several times as long as the whole check.
"""

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from panda_node.config import DatabaseSettings
from panda_node.db import drivers
from panda_node.errors import DatabaseRefusalError, DatabaseUnreachableError, PandaNodeError, SchemaMismatchError
from panda_node.timed import TimedCall


class Version(NamedTuple):
    """Major: incompatible change. Minor: additions. Patch: corrections."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


REQUIRED = Version(1, 2, 0)


@dataclass(frozen=True)
class Requirement:
    """The schema that a release needs, and where the database says which one it has."""

    component: str
    version: Version
    table: str
    remedy: str
    """What to do about an older schema."""
    same_major: bool
    """A schema of a newer major version does not serve."""

    @property
    def select(self) -> str:
        """The statement; its parts are constants of ours and a name that the configuration was held to."""
        return f"SELECT major, minor, patch FROM {self.table} WHERE component = '{self.component}'"  # noqa: S608


BUNDLED = Requirement("panda-node", REQUIRED, "pandadb_version", "run 'panda-node schema upgrade'", same_major=True)
COMPONENT = BUNDLED.component


def judge(installed: Version | None, required: Requirement = BUNDLED) -> Version:
    """Returns the installed version if this release can work with it, else raises SchemaMismatchError.

    A newer schema is good: during a rolling upgrade old releases run on the new one.
    """
    needed = f"this release needs {required.version}"
    if installed is None:
        raise SchemaMismatchError(f"no schema is installed, {needed}; {required.remedy}")
    if required.same_major and installed.major > required.version.major:
        raise SchemaMismatchError(f"installed is {installed}, {needed}; install a newer release")
    if installed < required.version:
        raise SchemaMismatchError(f"installed is {installed}, {needed}; {required.remedy}")
    return installed


def check(
    database: DatabaseSettings,
    timeout: int = drivers.CONNECT_TIMEOUT,
    wait: float = 0,
    required: Requirement = BUNDLED,
) -> Version:
    """Returns the installed version if it is good; asks an unreachable database again for `wait` seconds."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return judge(installed(database, timeout, required), required)
        except DatabaseUnreachableError:
            if time.monotonic() + 1 >= deadline:
                raise
            time.sleep(1)


def installed(
    database: DatabaseSettings, timeout: int = drivers.CONNECT_TIMEOUT, required: Requirement = BUNDLED
) -> Version | None:
    """Returns the version that the database has, or None; asks once, and waits no longer than twice the timeout."""
    try:
        return TimedCall(lambda: _installed(database, required, timeout)).result(2 * timeout)
    except TimeoutError as error:
        raise DatabaseUnreachableError(f"{database}: {error}") from error


def ask(database: DatabaseSettings, required: Requirement, timeout: int) -> Version:
    """Asks once, over a connection of its own, and judges the answer."""
    return judge(_installed(database, required, timeout), required)


def _installed(database: DatabaseSettings, required: Requirement, timeout: int) -> Version | None:
    driver = drivers.DRIVERS[database.backend]
    if database.backend == "sqlite" and Path(database.name).parent.is_dir() and not Path(database.name).exists():
        return None
    with closing(drivers.connect(database, timeout)) as connection:
        cursor = connection.cursor()
        try:
            cursor.execute(required.select)
            row = cursor.fetchone()
        except PandaNodeError:
            raise
        except Exception as error:
            if driver.table_missing(error):
                return None
            raise DatabaseRefusalError(f"{database}: cannot read the schema's version: {error}") from error
    return Version(*row) if row else None
