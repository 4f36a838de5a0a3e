"""Who is kept out: rows of banned_users."""

import time

from sqlalchemy import delete, insert, select

from panda_node.db.pool import Database
from panda_node.db.tables import banned_users


def add(database: Database, user: str, reason: str) -> None:
    """Bans a user, or gives an old ban a new reason."""
    with database.writing("ban") as connection:
        connection.execute(delete(banned_users).where(banned_users.c.user_name == user))
        connection.execute(insert(banned_users).values(user_name=user, reason=reason[:500], since=int(time.time())))


def remove(database: Database, user: str) -> bool:
    """Ends a ban; false if there was none."""
    with database.writing("end of a ban") as connection:
        return connection.execute(delete(banned_users).where(banned_users.c.user_name == user)).rowcount > 0


def all_bans(database: Database) -> list[tuple[str, str]]:
    """Users and reasons."""
    with database.reading("bans") as connection:
        rows = connection.execute(select(banned_users.c.user_name, banned_users.c.reason)).all()
    return sorted((user, reason or "") for user, reason in rows)
