"""Tasks: taken as clients submit them, found again, killed, finished early or tried again."""

import json
import re
from collections.abc import Mapping
from typing import Any
from zlib import crc32

from sqlalchemy import Connection, Row, case, func, select, update

from panda_node.db import locks
from panda_node.db.tables import among, jobs, tasks
from panda_node.errors import RefusalError
from panda_node.identity import Identity
from panda_node.work import states
from panda_node.work.jobs import add_row, cancel, cut, next_attempt, now, resource_type, whole_number
from panda_node.work.splitting import cores_of, memory_of

DEFAULT_PRIORITY = 1000
USER_PRIORITIES = range(900, 1101)
"""Those that a task may have without the production role."""
CHANGEABLE = {
    "site": "site",
    "currentPriority": "priority",
    "taskPriority": "priority",
    "coreCount": "cores",
    "ramCount": "memory",
    "outDiskCount": "disk",
    "maxAttempt": "max_attempts",
}
"""Parameters that a retry may change once there are jobs, and the columns of a job that they mean."""
# What the public package says with a task that it does not take.
STILL_ACTIVE = 2
SERVER_ERROR = 4
# And with a command. Never 1: clients take it for True.
NOT_FOUND = 2
WRONG_STATE = 4
_STOPPABLE = (states.REGISTERED, states.RUNNING, states.FINISHING)
_NAME = re.compile(r"[^\x00-\x1f]{1,512}")


def submit(
    connection: Connection, client: Identity, production: bool, parameters: Mapping[str, Any], parent: int | None
) -> int:
    """Stores a task; the daemon makes its jobs. Returns its number."""

    def text(key: str, default: str, length: int) -> str:
        value = parameters.get(key)
        if value in (None, ""):
            return default
        if not isinstance(value, str) or len(value) > length:
            raise RefusalError(f"failed to register task: {key} must be a text of {length} at most", SERVER_ERROR)
        return value

    name = text("taskName", "", 512)
    if not _NAME.fullmatch(name):
        raise RefusalError("failed to register task: taskName is missing or has control characters", SERVER_ERROR)
    label = text("prodSourceLabel", "user", 20)
    if label not in ("user", "test", "panda") and not production:
        raise RefusalError(f"failed to register task: {label} tasks need the production role", SERVER_ERROR)
    if parameters.get("uniqueTaskName"):
        # Another task of that name may be about to be stored. A few locks are enough for all names.
        locks.hold(connection, f"task name {crc32(name.encode()) % 64}")
        query = select(tasks.c.task_id, tasks.c.status).where(tasks.c.name == name, tasks.c.owner == client.key)
        twin = connection.execute(query.where(tasks.c.status.in_(states.TASK_ACTIVE))).first()
        if twin:
            message = f"failed to register task: jediTaskID={twin.task_id} of that name is {twin.status}"
            raise RefusalError(message, STILL_ACTIVE)
    row = {
        "name": name,
        "owner": client.key,
        "user_name": client.name,
        "vo": text("vo", client.vo, 64),
        "label": label,
        "site": text("site", "", 100) or None,
        "status": states.REGISTERED,
        "priority": _priority(parameters, production),
        "parent_id": parent,
        "parameters": json.dumps(parameters),
        "created": now(),
        "modified": now(),
    }
    return add_row(connection, tasks, row)


def _priority(parameters: Mapping[str, Any], production: bool, default: int = DEFAULT_PRIORITY) -> int:
    given = whole_number(parameters, "taskPriority", default) if production else default
    given = whole_number(parameters, "currentPriority", given)
    return given if production or given in USER_PRIORITIES else DEFAULT_PRIORITY


def find(connection: Connection, task_id: int) -> Row[Any]:
    """The task's row, or RefusalError."""
    row = connection.execute(select(tasks).where(tasks.c.task_id == task_id)).one_or_none()
    if row is None:
        raise RefusalError("Task not found")
    return row


def own(connection: Connection, task_id: int, client: Identity, production: bool) -> Row[Any]:
    """The task's row, if the client may change it."""
    row = connection.execute(select(tasks).where(tasks.c.task_id == task_id)).one_or_none()
    if row is None and production:
        raise RefusalError(f"jediTaskID={task_id} not found", NOT_FOUND)
    if row is None or (row.owner != client.key and not production):
        raise RefusalError("not the task owner or no production role")
    return row


def kill(connection: Connection, task: Row[Any]) -> None:
    """Ends a task: waiting jobs at once, the others when their pilots have been told."""
    if task.status not in _STOPPABLE:
        raise _rejected("kill", task)
    _move(connection, task, states.ABORTING)
    cancel(connection, jobs.c.task_id == task.task_id, "the task was killed")


def finish(connection: Connection, task: Row[Any], soft: bool) -> None:
    """Ends a task with what it has: waiting jobs at once, the others by kill, or by themselves if `soft`."""
    if task.status not in _STOPPABLE:
        raise _rejected("finish", task)
    _move(connection, task, states.FINISHING)
    wanted = jobs.c.task_id == task.task_id
    cancel(connection, wanted & (jobs.c.status == states.ACTIVATED) if soft else wanted, "the task was finished early")


def retry(connection: Connection, task: Row[Any], changes: Mapping[str, Any], production: bool) -> int:
    """Gives every job of an ended task that did not finish one more attempt; returns how many.

    The new attempts are made with the changed parameters. A task that has no jobs yet is split anew with them.
    """
    if task.status not in states.TASK_FINAL:
        # The public package takes new parameters for a second submission, and answers as to that.
        raise _rejected("retry", task, STILL_ACTIVE if changes else WRONG_STATE)
    _move(connection, task, states.RUNNING)
    last: dict[int, Row[Any]] = {}
    query = select(jobs).where(jobs.c.task_id == task.task_id).order_by(jobs.c.serial, jobs.c.attempt)
    for job in connection.execute(query):
        last[job.serial] = job
    columns = _changed(changes, anything=not last)
    if "priority" in columns:
        columns["priority"] = _priority(changes, production, task.priority)
    if changes:
        parameters = {**json.loads(task.parameters), **changes}
        if {"cores", "memory"} & columns.keys():
            columns |= {"memory": memory_of(parameters), "resource_type": resource_type(cores_of(parameters))}
        values = {"parameters": json.dumps(parameters)}
        values |= {name: columns[name] for name in ("site", "priority") if name in columns}
        connection.execute(update(tasks).where(tasks.c.task_id == task.task_id).values(**values))
    unfinished = [job for job in last.values() if job.status in (states.FAILED, states.CANCELLED)]
    attempts = columns.pop("max_attempts", 0)
    for job in unfinished:
        limit = job.attempt + attempts if attempts else max(job.attempt + 1, job.max_attempts)
        next_attempt(connection, job, {**columns, "max_attempts": limit})
    if not last:
        _move(connection, task, states.REGISTERED, expected=states.RUNNING)
    return len(unfinished)


def _changed(changes: Mapping[str, Any], anything: bool) -> dict[str, Any]:
    """The columns that new parameters mean, held to their types."""
    columns: dict[str, Any] = {}
    for key, value in changes.items():
        if key == "taskName" or not (anything or key in CHANGEABLE):
            raise RefusalError(f"retry cannot change {key[:100]}, only {', '.join(CHANGEABLE)}")
        if key == "site":
            if not isinstance(value, str) or not 0 < len(value) <= 100:
                raise RefusalError("retry: site must be a text of 100 at most")
        elif key in CHANGEABLE and (type(value) is not int or not 0 < value < 10**6):
            raise RefusalError(f"retry: {key} must be a whole number from 1 to 999999")
        if key in CHANGEABLE:
            columns[CHANGEABLE[key]] = value
    return columns


def _move(connection: Connection, task: Row[Any], status: str, expected: str | None = None) -> None:
    same = (tasks.c.task_id == task.task_id) & (tasks.c.status == (expected or task.status))
    values = {"status": status, "modified": now(), "diagnostics": None}
    if connection.execute(update(tasks).where(same).values(**values)).rowcount != 1:
        raise RefusalError("the task is being changed at this moment, try again", WRONG_STATE)


def _rejected(command: str, task: Row[Any], code: int = WRONG_STATE) -> RefusalError:
    return RefusalError(
        f"Command rejected: the {command} command is not accepted if the task is in {task.status} status", code
    )


def progress(connection: Connection, task_ids: list[int]) -> dict[int, dict[str, int]]:
    """How many pieces of work each task has, how many are finished and how many have failed for good."""
    found = {task_id: {"total": 0, "finished": 0, "failed": 0} for task_id in task_ids}
    # A piece is as good as its best attempt: 0 finished, 1 still active, 2 failed.
    rank = case((jobs.c.status == states.FINISHED, 0), (jobs.c.status.in_(states.ACTIVE), 1), else_=2)
    pieces = (
        select(jobs.c.task_id, jobs.c.serial, func.min(rank).label("best"))
        .where(among(jobs.c.task_id, task_ids))
        .group_by(jobs.c.task_id, jobs.c.serial)
        .subquery()
    )
    query = select(pieces.c.task_id, pieces.c.best, func.count()).group_by(pieces.c.task_id, pieces.c.best)
    for task_id, best, count in connection.execute(query):
        found[task_id]["total"] += count
        if best != 1:
            found[task_id]["finished" if best == 0 else "failed"] += count
    return found


def statistics(connection: Connection, task_id: int) -> dict[str, int]:
    """How many jobs a task has in each state."""
    query = select(jobs.c.status, func.count()).where(jobs.c.task_id == task_id).group_by(jobs.c.status)
    return {row[0]: row[1] for row in connection.execute(query)}


def close(connection: Connection, task: Row[Any]) -> str | None:
    """Ends a task that has no active job left; returns its final state, or None."""
    active = (jobs.c.task_id == task.task_id) & jobs.c.status.in_(states.ACTIVE)
    if connection.scalar(select(jobs.c.job_id).where(active).limit(1)) is not None:
        return None
    counts = statistics(connection, task.task_id)
    if task.status == states.ABORTING:
        status = states.ABORTED
    else:
        status = states.FINISHED if counts.get(states.FINISHED) else states.FAILED
    diagnostics = None
    if status == states.FAILED:
        failed = (jobs.c.task_id == task.task_id) & jobs.c.error_text.is_not(None)
        diagnostics = cut(connection.scalar(select(jobs.c.error_text).where(failed).limit(1)), 500)
    same = (tasks.c.task_id == task.task_id) & (tasks.c.status == task.status)
    values = {"status": status, "modified": now(), "diagnostics": diagnostics}
    return status if connection.execute(update(tasks).where(same).values(**values)).rowcount == 1 else None
