"""Makes the jobs of tasks that were submitted since."""

import json
from typing import Any

from sqlalchemy import Row, insert, select, update

from panda_node import log_files
from panda_node.daemon.job import JobContext
from panda_node.db.tables import files, jobs, tasks
from panda_node.errors import DatabaseUnreachableError, RefusalError
from panda_node.work import states
from panda_node.work.jobs import now, resource_type
from panda_node.work.plugins import Plugins
from panda_node.work.splitting import specification as make_specification
from panda_node.work.splitting import split

AT_ONCE = 100
_ROWS = 500
_POSTPONED = "its jobs cannot be made yet; the operators find the reason in panda-daemons.log"

_log = log_files.get(log_files.DAEMONS)


def run(context: JobContext) -> str:
    """Splits each new task in a transaction of its own, so that one that cannot be split stops no other.

    One at which a setupper fails, or for which the time was too short, is tried again behind the others.
    """
    plugins = Plugins(context.settings)
    with context.database.reading("new tasks") as connection:
        query = select(tasks).where(tasks.c.status == states.REGISTERED).order_by(tasks.c.modified, tasks.c.task_id)
        new = connection.execute(query.limit(AT_ONCE)).all()
    made = broken = 0
    for task in new:
        try:
            # Behind the others, before the work: a run that is killed over it shall not begin with it again.
            _move(context, task, states.REGISTERED, task.diagnostics)
            count = _split(context, plugins, task)
        except DatabaseUnreachableError:
            raise
        except Exception:
            _log.exception("task %d cannot be split, it stays registered", task.task_id)
            _move(context, task, states.REGISTERED, _POSTPONED)
            continue
        made += count
        broken += count == 0
    return f"{len(new)} tasks, {made} jobs made, {broken} tasks broken"


def _split(context: JobContext, plugins: Plugins, task: Row[Any]) -> int:
    parameters = json.loads(task.parameters)
    try:
        plugins.setupper(task.vo or "").prepare(parameters)
        plan = split(task.task_id, task.site, context.settings.transformation, parameters)
    except RefusalError as refusal:
        _move(context, task, states.BROKEN, str(refusal)[:500])
        return 0
    common = {
        "task_id": task.task_id,
        "owner": task.owner,
        "user_name": task.user_name,
        "label": task.label,
        "site": plan.site,
        "status": states.ACTIVATED,
        "attempt": 1,
        "max_attempts": plan.attempts,
        "priority": task.priority,
        "cores": plan.cores,
        "memory": plan.memory,
        "disk": plan.disk,
        "resource_type": resource_type(plan.cores),
        "transformation": plan.transformation,
        "specification": make_specification(parameters, task.user_name),
        "created": now(),
        "modified": now(),
    }
    with context.database.writing("split task") as connection:
        # Another node may be at the same task: who moves it on makes the jobs.
        same = (tasks.c.task_id == task.task_id) & (tasks.c.status == states.REGISTERED)
        moved = {"status": states.RUNNING, "modified": now(), "diagnostics": None}
        if connection.execute(update(tasks).where(same).values(**moved)).rowcount != 1:
            return 0
        rows = [
            {
                **common,
                "serial": job.serial,
                "parameters": job.parameters,
                "name": f"{task.name}.{job.serial:06d}"[-256:],
            }
            for job in plan.jobs
        ]
        for start in range(0, len(rows), _ROWS):
            connection.execute(insert(jobs), rows[start : start + _ROWS])
        query = select(jobs.c.serial, jobs.c.job_id).where(jobs.c.task_id == task.task_id)
        numbers = {row.serial: row.job_id for row in connection.execute(query)}
        its_files = [
            {"job_id": numbers[job.serial], "type": file.type, "lfn": file.lfn, "dataset": file.dataset or None}
            for job in plan.jobs
            for file in job.files
        ]
        for start in range(0, len(its_files), _ROWS):
            connection.execute(insert(files).values(status="defined"), its_files[start : start + _ROWS])
    return len(rows)


def _move(context: JobContext, task: Row[Any], status: str, diagnostics: str | None) -> None:
    with context.database.writing("task without jobs") as connection:
        same = (tasks.c.task_id == task.task_id) & (tasks.c.status == states.REGISTERED)
        connection.execute(update(tasks).where(same).values(status=status, diagnostics=diagnostics, modified=now()))
