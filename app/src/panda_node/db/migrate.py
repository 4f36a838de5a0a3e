"""Brings the schema to this release's version, by the migrations in `migrations/versions`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, insert, inspect, select, text

from panda_node.config import DatabaseSettings
from panda_node.db.pool import Database
from panda_node.db.tables import pandadb_version
from panda_node.db.version import COMPONENT, REQUIRED, Version
from panda_node.errors import DatabaseRefusalError

LOCK_TIMEOUT = 60
"""Seconds to wait for another node that is upgrading."""
_LOCK_NUMBER = 250802544
_LOCK_NAME = "panda_node_schema"


def upgrade(settings: DatabaseSettings, to: Version = REQUIRED) -> tuple[Version | None, Version]:
    """Upgrades and returns the versions before and after; they are equal if there was nothing to do.

    Several nodes may call this at once: one works, the others wait for it and then find nothing to do.
    """
    # No limit on a statement: an index on a large table takes what it takes.
    database = Database(replace(settings, call_timeout=None), create=True)
    try:
        with database.writing("schema upgrade") as connection, _alone(connection):
            before = _installed(connection)
            if before is not None and before >= to:
                return before, before
            config = Config()
            config.set_main_option("script_location", "panda_node.db:migrations")
            config.attributes["connection"] = connection
            revision = _revisions(config).get(to)
            if revision is None:
                raise DatabaseRefusalError(f"there is no schema version {to}; this release has {_known(config)}")
            command.upgrade(config, revision)
            connection.execute(delete(pandadb_version).where(pandadb_version.c.component == COMPONENT))
            connection.execute(insert(pandadb_version).values(component=COMPONENT, **to._asdict()))
            return before, to
    finally:
        database.close()


def _installed(connection: Connection) -> Version | None:
    if not inspect(connection).has_table(pandadb_version.name):
        return None
    columns = (pandadb_version.c.major, pandadb_version.c.minor, pandadb_version.c.patch)
    row = connection.execute(select(*columns).where(pandadb_version.c.component == COMPONENT)).one_or_none()
    return Version(*row) if row else None


def _revisions(config: Config) -> dict[Version, str]:
    script = ScriptDirectory.from_config(config)
    return {Version(*revision.module.version): revision.revision for revision in script.walk_revisions()}


def _known(config: Config) -> str:
    return ", ".join(str(version) for version in sorted(_revisions(config)))


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Keeps other upgrades out until the transaction (or, where DDL commits by itself, the session) has ended."""
    backend = connection.dialect.name
    if backend == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_NUMBER})
        yield
    elif backend == "mysql":
        got = connection.scalar(text("SELECT GET_LOCK(:name, :wait)"), {"name": _LOCK_NAME, "wait": LOCK_TIMEOUT})
        if got != 1:
            raise DatabaseRefusalError(f"another schema upgrade is running since more than {LOCK_TIMEOUT} s")
        try:
            yield
            connection.exec_driver_sql("COMMIT")  # The next one must find the new version when it gets the lock.
        finally:
            connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": _LOCK_NAME})
    elif backend == "oracle":
        # Needs: GRANT EXECUTE ON DBMS_LOCK TO the account. A lock of mode 6 that outlives the commits of DDL.
        request = "BEGIN IF DBMS_LOCK.REQUEST(:key, 6, :wait, FALSE) NOT IN (0, 4) THEN "
        request += "RAISE_APPLICATION_ERROR(-20001, 'another schema upgrade is running'); END IF; END;"
        connection.execute(text(request), {"key": _LOCK_NUMBER, "wait": LOCK_TIMEOUT})
        try:
            yield
            connection.exec_driver_sql("COMMIT")
        finally:
            connection.execute(
                text("DECLARE s INTEGER; BEGIN s := DBMS_LOCK.RELEASE(:key); END;"), {"key": _LOCK_NUMBER}
            )
    else:
        yield  # SQLite: the transaction began with BEGIN IMMEDIATE, which is the lock.
