"""Ends jobs whose pilots have not been heard of for too long, and gives each a next attempt while it has one left."""

from sqlalchemy import or_, select

from panda_node.daemon.job import JobContext
from panda_node.db.tables import jobs
from panda_node.work import jobs as work
from panda_node.work import states

AT_ONCE = 1000


def run(context: JobContext) -> str:
    """What counts as too long is [server] heartbeat_timeout; before its first report a pilot has a tenth of that."""
    patience = context.settings.heartbeat_timeout
    silent = (jobs.c.status.in_((*states.WITH_PILOT, states.HOLDING))) & (jobs.c.modified < work.now() - patience)
    unheard = (jobs.c.status == states.SENT) & (jobs.c.modified < work.now() - max(1, patience // 10))
    with context.database.reading("silent jobs") as connection:
        query = select(jobs).where(or_(silent, unheard), jobs.c.reported.is_(None)).limit(AT_ONCE)
        lost = connection.execute(query).all()
    expired = 0
    for job in lost:
        with context.database.writing("lost heartbeat") as connection:
            text = f"lost heartbeat: no report for {work.now() - job.modified} s"
            expired += work.fail(connection, job, "server", text) is not None
    return f"{expired} jobs expired"
