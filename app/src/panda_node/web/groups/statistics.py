"""/api/v1/statistics/: what a monitoring page shows."""

from sqlalchemy import func, select

from panda_node.db.tables import jobs
from panda_node.web.methods import Call, RefusalError, method
from panda_node.work import states
from panda_node.work.jobs import now

MAX_TIME_WINDOW = 60 * 24 * 7
_DEFAULT_TIME_WINDOW = 60 * 12
_ALWAYS = ("assigned", states.ACTIVATED, states.RUNNING)
"""Clients of the public package find these states of a queue with 0 where it has no such jobs."""


@method("GET", secure=False)
def active_job_stats_by_site(call: Call) -> dict[str, dict[str, int]]:
    """How many jobs each queue has in each state that is not final."""
    query = select(jobs.c.site, jobs.c.status, func.count()).where(jobs.c.status.in_(states.ACTIVE))
    found: dict[str, dict[str, int]] = {}
    with call.database.reading("active jobs") as connection:
        for site, status, count in connection.execute(query.group_by(jobs.c.site, jobs.c.status)):
            found.setdefault(site, dict.fromkeys(_ALWAYS, 0))[status] = count
    return found


@method("GET", secure=False)
def job_stats_by_site_and_resource_type(
    call: Call, time_window: int | None = None
) -> dict[str, dict[str, dict[str, int]]]:
    """The same by resource type, with final states of the last `time_window` minutes, 12 hours by default."""
    if time_window is not None and not 0 <= time_window <= MAX_TIME_WINDOW:
        raise RefusalError(
            'Parameter "time_window" needs to be a positive integer smaller than 10080 min (7 days)', data={}
        )
    since = now() - 60 * (_DEFAULT_TIME_WINDOW if time_window is None else time_window)
    columns = (jobs.c.site, jobs.c.resource_type, jobs.c.status)
    recent = jobs.c.status.in_(states.FINAL) & (jobs.c.modified >= since)
    query = select(*columns, func.count()).where(jobs.c.status.in_(states.ACTIVE) | recent).group_by(*columns)
    always = (*_ALWAYS, states.FINISHED, states.FAILED)
    found: dict[str, dict[str, dict[str, int]]] = {}
    with call.database.reading("jobs by resource type") as connection:
        for site, resource_type, status, count in connection.execute(query):
            by_type = found.setdefault(site, {})
            by_type.setdefault(resource_type or "SCORE", dict.fromkeys(always, 0))[status] = count
    return found
