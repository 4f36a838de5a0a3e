"""/api/v1/task/: what users do with their tasks."""

import json
import re
from typing import Any

from sqlalchemy import Row, select

from panda_node import untrusted
from panda_node.db.tables import jobs, tasks
from panda_node.web.methods import Answer, Call, RefusalError, method
from panda_node.work import tasks as work
from panda_node.work.jobs import as_time, from_time

MAX_TASKS = 10_000
# Filters by which pbook asks, and the columns they mean.
_FILTERS = {
    "jediTaskID": tasks.c.task_id,
    "reqID": tasks.c.task_id,
    "taskName": tasks.c.name,
    "userName": tasks.c.user_name,
    "status": tasks.c.status,
    "superStatus": tasks.c.status,
    "site": tasks.c.site,
    "prodSourceLabel": tasks.c.label,
    "vo": tasks.c.vo,
}
_NUMBERS = ("jediTaskID", "reqID")
# What makes a filter's value a pattern in the public package, and what of it is taken here.
_PATTERN = re.compile(r"[$*+?\\|()^]")
_MAX_PATTERN = 100
_TAKEN = re.compile(rf"[^+?\\()]{{1,{_MAX_PATTERN}}}")


@method("POST")
def submit(call: Call, task_parameters: dict[str, Any], parent_tid: int | None = None) -> Answer:
    """Takes a task. Its jobs are made within the minute."""
    with call.database.writing("task submit") as connection:
        task_id = work.submit(connection, call.client, call.production, task_parameters, parent_tid)
    return Answer(task_id, f"succeeded. new jediTaskID={task_id}")


@method("GET")
def get_status(call: Call, task_id: int) -> str:
    """The task's state."""
    with call.database.reading("task status") as connection:
        return str(work.find(connection, task_id).status)


@method("GET")
def get_details(
    call: Call, task_id: int, include_parameters: bool = False, include_status: bool = False
) -> dict[str, object]:
    """Data sets, job numbers and job counts of a task."""
    with call.database.reading("task details") as connection:
        task = work.find(connection, task_id)
        job_ids = list(
            connection.scalars(select(jobs.c.job_id).where(jobs.c.task_id == task_id).order_by(jobs.c.job_id))
        )
        counts = work.statistics(connection, task_id)
    parameters = json.loads(task.parameters)
    details: dict[str, object] = {
        "inDS": ",".join(_data_sets(parameters, "input")),
        "outDS": ",".join(_data_sets(parameters, "output", "log")),
        "statistics": ",".join(f"{status}*{count}" for status, count in sorted(counts.items())),
        "PandaID": job_ids,
        "mergeStatus": None,
        "mergePandaID": [],
    }
    if include_parameters:
        details["taskParams"] = parameters
        details["cliParams"] = parameters.get("cliParams", "")
    if include_status:
        details["status"] = task.status
        details["oldStatus"] = None
        details["errorDialog"] = task.diagnostics
    return details


def _data_sets(parameters: dict[str, Any], *kinds: str) -> list[str]:
    """Each container once, or the data set where there is none."""
    items = parameters.get("jobParameters")
    given = [*(items if isinstance(items, list) else []), parameters.get("log")]
    wanted = [item for item in given if isinstance(item, dict) and item.get("param_type") in kinds]
    names = [item.get("container") or item.get("dataset") for item in wanted]
    return list(dict.fromkeys(str(name) for name in names if name))


@method("GET")
def get_task_parameters(call: Call, task_id: int) -> dict[str, object]:
    """The parameters as they were submitted."""
    with call.database.reading("task parameters") as connection:
        parameters: dict[str, object] = json.loads(work.find(connection, task_id).parameters)
    return parameters


@method("GET")
def get_tasks_detailed_info_since(
    call: Call, since: str | None = None, filters: str | None = None, n_tasks: int = 500
) -> list[dict[str, object]]:
    """The latest tasks of the client, or of the user that the filters name, by number; `filters` is JSON.

    A filter's value may be a pattern, which is looked for in the latest `n_tasks`: * and .* stand for anything, | parts
    alternatives, ^ and $ are the ends. The public package takes any regular expression, of which some take for ever.
    """
    conditions = []
    chosen = _read_filters(filters)
    patterns = {key: chosen.pop(key) for key in list(chosen) if _PATTERN.search(chosen[key])}
    if wrong := [key for key, pattern in patterns.items() if not _TAKEN.fullmatch(pattern)]:
        raise RefusalError(f"filters: {wrong[0]}: a pattern is * .* | ^ $ and text, {_MAX_PATTERN} characters at most")
    if "userName" not in chosen and not set(_NUMBERS) & set(chosen):
        chosen["userName"] = call.client.name
    elif "userName" not in chosen:
        # By number: one's own, or anybody's for the production role.
        conditions += [] if call.production else [tasks.c.owner == call.client.key]
    for key, value in chosen.items():
        conditions.append(_FILTERS[key] == (_number(key, value) if key in _NUMBERS else value))
    if since is not None:
        try:
            conditions.append(tasks.c.modified >= from_time(since))
        except ValueError as error:
            raise RefusalError("since: must be a time as 2026-01-31 12:00:00") from error
    limit = max(0, min(n_tasks, MAX_TASKS))
    with call.database.reading("tasks since") as connection:
        query = select(tasks).where(*conditions).order_by(tasks.c.task_id.desc()).limit(limit)
        rows = connection.execute(query).all()
        counts = work.progress(connection, [row.task_id for row in rows])
    described = [_described(row, counts[row.task_id]) for row in reversed(rows)]
    return [task for task in described if all(_found(patterns[key], str(task[key])) for key in patterns)]


@method("GET")
def get_detailed_info(call: Call, task_id: int) -> dict[str, object]:
    """One task, as get_tasks_detailed_info_since describes it."""
    with call.database.reading("task info") as connection:
        task = work.find(connection, task_id)
        counts = work.progress(connection, [task_id])
    return _described(task, counts[task_id])


def _read_filters(text: str | None) -> dict[str, str]:
    try:
        filters = untrusted.read_json(text) if text else {}
    except ValueError as error:
        raise RefusalError(f"filters: not JSON: {error}") from error
    if not isinstance(filters, dict):
        raise RefusalError("filters: must be a JSON object")
    if unknown := [key for key in filters if key not in _FILTERS]:
        raise RefusalError(f"filters: {unknown[0][:100]} is not one of {', '.join(_FILTERS)}")
    values = {key: str(value) for key, value in filters.items()}
    if any("\0" in value or not value.isprintable() for value in values.values()):
        raise RefusalError("filters: a value has characters that cannot be printed")
    return values


def _found(pattern: str, text: str) -> bool:
    """Whether an alternative of the pattern is somewhere in the text; one pass over the text for each."""
    return any(_follow(alternative.replace(".*", "*").split("*"), f"^{text}$") for alternative in pattern.split("|"))


def _follow(pieces: list[str], text: str) -> bool:
    place = 0
    for piece in pieces:
        place = text.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return True


def _number(key: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise RefusalError(f"filters: {key} must be a number")
    return int(value)


def _described(task: Row[Any], counts: dict[str, int]) -> dict[str, object]:
    def percent(count: int) -> int:
        return round(100 * count / counts["total"]) if counts["total"] else 0

    return {
        "jediTaskID": task.task_id,
        "reqID": task.task_id,
        "taskName": task.name,
        "userName": task.user_name,
        "vo": task.vo,
        "prodSourceLabel": task.label,
        "site": task.site,
        "status": task.status,
        "superStatus": task.status,
        "errorDialog": task.diagnostics,
        "currentPriority": task.priority,
        "parent_tid": task.parent_id,
        "creationDate": as_time(task.created),
        "modificationTime": as_time(task.modified),
        "nFiles": counts["total"],
        "nFilesFinished": counts["finished"],
        "nFilesFailed": counts["failed"],
        "pctFinished": percent(counts["finished"]),
        "pctFailed": percent(counts["failed"]),
    }


@method("POST")
def kill(call: Call, task_id: int, broadcast: bool = False) -> Answer:
    """Kills a task: its waiting jobs now, the others when their pilots next report."""
    with call.database.writing("task kill") as connection:
        work.kill(connection, work.own(connection, task_id, call.client, call.production))
    return _registered("kill", task_id)


@method("POST")
def finish(call: Call, task_id: int, soft: bool = False, broadcast: bool = False) -> Answer:
    """Finishes a task with what it has; `soft` lets running jobs come to their end."""
    with call.database.writing("task finish") as connection:
        work.finish(connection, work.own(connection, task_id, call.client, call.production), soft)
    return _registered("finish", task_id)


@method("POST")
def retry(
    call: Call,
    task_id: int,
    new_parameters: dict[str, Any] | str | None = None,
    no_child_retry: bool = False,
    discard_events: bool = False,
    disable_staging_mode: bool = False,
    keep_gshare_priority: bool = False,
    ignore_hard_exhausted: bool = False,
) -> Answer:
    """Tries what did not finish once more, with new parameters if there are any.

    Data says how it went: 0 as it was, 3 with new parameters, else why it is not done.
    """
    changes = new_parameters or {}
    if isinstance(changes, str):
        try:
            changes = untrusted.read_json(changes)
            untrusted.check(changes)
        except ValueError as error:
            raise RefusalError(f"new_parameters: not JSON: {error}") from error
    if not isinstance(changes, dict):
        raise RefusalError("new_parameters: must be a JSON object")
    try:
        with call.database.writing("task retry") as connection:
            task = work.own(connection, task_id, call.client, call.production)
            work.retry(connection, task, changes, call.production)
    except RefusalError as refusal:
        if refusal.data is None:
            raise
        # The public package says success whatever the code.
        return Answer(refusal.data, str(refusal))
    if new_parameters:
        text = f"reactivation accepted. jediTaskID={task_id} (currently in {task.status} state) will be re-executed"
        return Answer(3, f"{text} with old and/or new input")
    return _registered("retry", task_id)


def _registered(command: str, task_id: int) -> Answer:
    text = f"command={command} is registered for task ID {task_id}. will be executed in a few minutes"
    return Answer(0, text)
