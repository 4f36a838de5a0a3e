"""How many jobs are in which state, for metrics and the status page."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import func, select

from panda_node.db.pool import Database
from panda_node.db.tables import jobs
from panda_node.timed import SharedCall
from panda_node.work import states

HOURS = 24
TIME_LIMIT = 2.0
CACHE_SECONDS = 15.0
"""An answer of the database serves all that ask for so long: counting is not for free."""


@dataclass(frozen=True)
class Counts:
    """Jobs by state: all that are active now, and hour by hour those that last changed within the last day."""

    active: Mapping[str, int] = field(default_factory=dict)
    hours: tuple[Mapping[str, int], ...] = ()
    """The oldest hour first."""

    @property
    def by_state(self) -> dict[str, int]:
        """Active ones, and those that ended within the last day."""
        ended = {state: sum(hour.get(state, 0) for hour in self.hours) for state in states.FINAL}
        return {**{state: self.active.get(state, 0) for state in states.ACTIVE}, **ended}


class Overview:
    """Asks the database seldom, and never waits for it longer than TIME_LIMIT."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts = SharedCall(self._count, CACHE_SECONDS, TIME_LIMIT)

    def __call__(self) -> Counts | None:
        """The counts; None while the database does not give them."""
        try:
            return self._counts()
        except Exception:
            return None

    def _count(self) -> Counts:
        start = int(time.time()) - HOURS * 3600
        hour = ((jobs.c.modified - start) // 3600).label("hour")
        hours: list[dict[str, int]] = [{} for _ in range(HOURS)]
        with self._database.reading("jobs by state") as connection:
            active = select(jobs.c.status, func.count()).where(jobs.c.status.in_(states.ACTIVE))
            now = {row[0]: row[1] for row in connection.execute(active.group_by(jobs.c.status))}
            recent = select(hour, jobs.c.status, func.count()).where(jobs.c.modified >= start)
            for place, status, count in connection.execute(recent.group_by(hour, jobs.c.status)):
                bucket = hours[min(HOURS - 1, int(place))]  # this second may be the first of another hour
                bucket[status] = bucket.get(status, 0) + count
        return Counts(now, tuple(hours))
