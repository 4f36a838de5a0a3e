"""Locks of periodic jobs that run on one node at a time."""

import sqlalchemy as sa
from panda_node.db.migrations.missing import create_table

revision = "0002"
down_revision = "0001"
version = (1, 1, 0)


def upgrade() -> None:
    """Creates daemon_lock."""
    create_table(
        "daemon_lock",
        sa.Column("job", sa.String(100), primary_key=True),
        sa.Column("owner", sa.String(200)),
        sa.Column("last_start", sa.Double, nullable=False),
        sa.Column("locked_until", sa.Double, nullable=False),
    )
