"""Deletes what ended long ago: tasks with their jobs and files, jobs without a task, and workers.

The public package moves ended jobs to an archive of its own; here they are gone, so a site that wants to keep them
copies them before.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select, Table, delete, exists, select, tuple_, update

from panda_node.daemon.job import JobContext
from panda_node.db.pool import Database
from panda_node.db.tables import files, jobs, tasks, workers
from panda_node.work import states
from panda_node.work.jobs import now

DEFAULT_DAYS = 90.0
BATCH = 500
"""Rows of a transaction, so that no other has to wait long for a lock: in SQLite every writer waits for this one."""
MAX_BATCHES = 200
"""Of each kind in one run; the next run goes on."""


def run(context: JobContext) -> str:
    """The first argument is the age in days since the last change. A task goes as a whole, once it has ended."""
    days = float(context.arguments[0]) if context.arguments else DEFAULT_DAYS
    oldest = now() - int(days * 86400)
    database = context.database
    ended = tasks.c.status.in_(states.TASK_FINAL) & (tasks.c.modified < oldest)
    for ids in _batches(database, select(tasks.c.task_id).where(ended)):
        with database.writing("obsolete tasks") as connection:
            # From here on nobody can retry it, of which the half of the jobs may be gone.
            connection.execute(update(tasks).where(tasks.c.task_id.in_(ids), ended).values(status=states.OBSOLETE))
    of_tasks = select(jobs.c.job_id).join(tasks, tasks.c.task_id == jobs.c.task_id)
    of_tasks = of_tasks.where(tasks.c.status == states.OBSOLETE)
    alone = select(jobs.c.job_id).where(jobs.c.task_id.is_(None), jobs.c.status.in_(states.FINAL))
    alone = alone.where(jobs.c.modified < oldest)
    job_count = 0
    for query in (of_tasks, alone):
        for ids in _batches(database, query):
            with database.writing("delete jobs") as connection:
                connection.execute(delete(files).where(files.c.job_id.in_(ids)))
                job_count += connection.execute(delete(jobs).where(jobs.c.job_id.in_(ids))).rowcount
    empty = (tasks.c.status == states.OBSOLETE) & ~exists().where(jobs.c.task_id == tasks.c.task_id)
    task_count = _delete(database, tasks, select(tasks.c.task_id).where(empty))
    silent = select(workers.c.harvester_id, workers.c.worker_id).where(workers.c.modified < oldest)
    worker_count = _delete(database, workers, silent)
    return f"{task_count} tasks, {job_count} jobs, {worker_count} workers deleted"


def _delete(database: Database, table: Table, query: "Select[Any]") -> int:
    count = 0
    for keys in _batches(database, query):
        with database.writing(f"delete {table.name}") as connection:
            key = tuple_(*table.primary_key.columns) if len(table.primary_key) > 1 else table.primary_key.columns[0]
            count += connection.execute(delete(table).where(key.in_(keys))).rowcount
    return count


def _batches(database: Database, query: "Select[Any]") -> Iterator[list[Any]]:
    """The query's keys, asked for anew after each batch, which the caller has deleted or changed by then."""
    for _ in range(MAX_BATCHES):
        with database.reading("finished long ago") as connection:
            rows = connection.execute(query.limit(BATCH)).all()
        if not rows:
            return
        yield [row[0] if len(row) == 1 else tuple(row) for row in rows]
