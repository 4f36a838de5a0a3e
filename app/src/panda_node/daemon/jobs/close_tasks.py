"""Ends tasks that have no active job left."""

from collections import Counter

from sqlalchemy import exists, select

from panda_node.daemon.job import JobContext
from panda_node.db.tables import jobs, tasks
from panda_node.work import states
from panda_node.work import tasks as work

AT_ONCE = 500


def run(context: JobContext) -> str:
    """Closes each in a transaction of its own."""
    active = exists().where(jobs.c.task_id == tasks.c.task_id, jobs.c.status.in_(states.ACTIVE))
    moving = (states.RUNNING, states.FINISHING, states.ABORTING)
    with context.database.reading("tasks to close") as connection:
        query = select(tasks).where(tasks.c.status.in_(moving), ~active).order_by(tasks.c.task_id).limit(AT_ONCE)
        rows = connection.execute(query).all()
    closed: Counter[str] = Counter()
    for task in rows:
        with context.database.writing("close task") as connection:
            closed[work.close(connection, task) or "not yet"] += 1
    return f"{len(rows)} tasks: {', '.join(f'{count} {status}' for status, count in sorted(closed.items())) or 'none'}"
