"""Makes what is not there yet.

MySQL, MariaDB and Oracle commit each table and index at once, so an upgrade that is interrupted leaves some of them
behind; and not all of their releases know IF NOT EXISTS.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op


def create_table(name: str, *columns: "sa.Column[Any]") -> None:
    """As Alembic's, unless the table is there."""
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *columns)


def create_index(name: str, table: str, columns: list[Any], **options: Any) -> None:
    """As Alembic's, unless the table has an index of that name."""
    if not sa.inspect(op.get_bind()).has_index(table, name):
        op.create_index(name, table, columns, **options)
