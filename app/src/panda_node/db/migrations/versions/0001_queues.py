"""The schema's version, and the queues."""

import sqlalchemy as sa
from panda_node.db.migrations.missing import create_table
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0001"
down_revision = None
version = (1, 0, 0)


def upgrade() -> None:
    """Creates pandadb_version and schedconfig_json."""
    create_table(
        "pandadb_version",
        sa.Column("component", sa.String(50), primary_key=True),
        sa.Column("major", sa.Integer, nullable=False),
        sa.Column("minor", sa.Integer, nullable=False),
        sa.Column("patch", sa.Integer, nullable=False),
    )
    create_table(
        "schedconfig_json",
        sa.Column("panda_queue", sa.String(100), primary_key=True),
        sa.Column("data", sa.Text().with_variant(MEDIUMTEXT(), "mysql"), nullable=False),
        sa.Column("last_update", sa.DateTime, nullable=False),
    )
