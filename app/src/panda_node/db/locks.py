"""Locks by which a job runs on one node at a time, at one period for all nodes together, and a name is taken once."""

from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from panda_node.db.pool import Database
from panda_node.db.tables import daemon_lock

_CLOCK = {
    "postgresql": "SELECT extract(epoch from clock_timestamp())",
    "mysql": "SELECT unix_timestamp(now(6))",
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "oracle": "SELECT (CAST(SYS_EXTRACT_UTC(SYSTIMESTAMP) AS DATE) - DATE '1970-01-01') * 86400 FROM dual",
}


def acquire(database: Database, job: str, owner: str, period: float, timeout: float) -> bool:
    """Takes the lock if nobody holds it and the job is due; the lock ends by itself after `timeout` seconds."""
    # On its own: in InnoDB, nodes that make the same row and then change it would lock each other out.
    with database.writing(f"lock row {job}") as connection:
        _ensure_row(connection, job)
    with database.writing(f"lock {job}") as connection:
        now = _now(connection)
        taken = connection.execute(
            update(daemon_lock)
            .where(
                daemon_lock.c.job == job, daemon_lock.c.locked_until <= now, daemon_lock.c.last_start <= now - period
            )
            .values(owner=owner, last_start=now, locked_until=now + timeout)
        )
        return taken.rowcount == 1


def release(database: Database, job: str, owner: str) -> None:
    """Gives the lock back, if it is still the owner's."""
    with database.writing(f"unlock {job}") as connection:
        connection.execute(
            update(daemon_lock).where(daemon_lock.c.job == job, daemon_lock.c.owner == owner).values(locked_until=0)
        )


def hold(connection: Connection, lock: str) -> None:
    """Takes a lock until the end of the transaction, and waits for it."""
    _ensure_row(connection, lock)
    connection.execute(select(daemon_lock.c.job).where(daemon_lock.c.job == lock).with_for_update())


def _now(connection: Connection) -> float:
    return float(connection.scalar(text(_CLOCK[connection.dialect.name])) or 0)


def _ensure_row(connection: Connection, job: str) -> None:
    if connection.scalar(select(daemon_lock.c.job).where(daemon_lock.c.job == job)) is None:
        try:
            with connection.begin_nested():
                connection.execute(insert(daemon_lock).values(job=job, last_start=0, locked_until=0))
        except IntegrityError:
            pass  # Another node was first; the row is there, which is all that matters.
