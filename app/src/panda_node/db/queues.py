"""Queue definitions: rows of schedconfig_json."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import insert, select, update

from panda_node.db.pool import Database
from panda_node.db.tables import schedconfig_json
from panda_node.errors import PandaNodeError

# A queue's name becomes a file name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")

Queue = dict[str, object]


class BadQueueError(PandaNodeError):
    """A queue definition that cannot be stored."""


def all_queues(database: Database) -> dict[str, Queue]:
    """Every queue by its name; `siteid` is always the name, as in the public package."""
    columns = (schedconfig_json.c.panda_queue, schedconfig_json.c.data)
    with database.reading("all queues") as connection:
        rows = connection.execute(select(*columns)).all()
    return {name: {**json.loads(data), "siteid": name} for name, data in rows}


def save_queues(database: Database, queues: Mapping[str, object]) -> None:
    """Adds queues, or replaces those of the same name; all of them or, if one is bad, none."""
    for name, queue in queues.items():
        if not _NAME.fullmatch(name):
            raise BadQueueError(f"queue {name!r}: a name has letters, digits and _ . + - only, 100 at most")
        if not isinstance(queue, dict):
            raise BadQueueError(f"queue {name}: must be a JSON object, not {type(queue).__name__}")
    now = datetime.now(UTC).replace(tzinfo=None)
    with database.writing("save queues") as connection:
        for name, queue in queues.items():
            row = {"data": json.dumps(queue, sort_keys=True), "last_update": now}
            changed = connection.execute(
                update(schedconfig_json).where(schedconfig_json.c.panda_queue == name).values(**row)
            )
            if changed.rowcount == 0:
                connection.execute(insert(schedconfig_json).values(panda_queue=name, **row))
