"""Jobs: handed out to exactly one pilot each, moved on by its reports, tried again within limits."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from panda_node.db.tables import among, files, jobs, tasks, workers
from panda_node.work import states

NO_COMMAND = "NULL"
KILL = "tobekilled"
NO_LOOPING_CHECK = "lc"
"""In a job's specialHandling: its pilot is not to end it because it seems to hang."""
MAX_AT_ONCE = 100
"""Jobs that one call may take."""
UNHEARD_OF = 3
"""Attempts beyond its limit for a job of which no pilot ever said a word: what was lost may be the answer with it."""
MAX_ANSWER = 5_000_000
"""Characters of the jobs that one call takes, of which the first is handed out however large it is."""
_count = select(func.count()).where(files.c.job_id == jobs.c.job_id).scalar_subquery()
_texts = (jobs.c.parameters, jobs.c.specification, jobs.c.measures)
SIZE = 500 * _count + sum(func.coalesce(func.length(text), 0) for text in _texts)
"""About how many characters a job and its files take in an answer."""
_SKIP_LOCKED = ("postgresql", "mysql", "mariadb")
# As many rows again are looked at where rows cannot be skipped: others may be taking the first ones this instant.
_SPARE = 8
_INPUT = ("input", "pseudo_input")


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


def as_time(seconds: int | None) -> datetime | None:
    """A stored time as answers have it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def from_time(text: str) -> int:
    """What is stored of a time such as 2026-01-31 12:00:00, or ValueError."""
    try:
        return int(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp())
    except OverflowError as error:
        raise ValueError(text) from error


def add_row(connection: Connection, table: Table, values: Mapping[str, Any]) -> int:
    """Stores a row and returns the number that it got."""
    primary_key = connection.execute(insert(table).values(**values)).inserted_primary_key
    assert primary_key is not None
    return int(primary_key[0])


def whole_number(values: Mapping[str, Any], key: str, default: int = 0, bits: int = 31) -> int:
    """What a client says under a key, if it is a number that every column can hold, or one of so many bits."""
    value = values.get(key)
    return value if type(value) is int and abs(value) < 2**bits else default


def cut(value: object, length: int) -> str | None:
    """A text no longer than its column."""
    return None if value is None else str(value)[:length]


def acquire(
    connection: Connection, wanted: Sequence["ColumnElement[bool]"], count: int, pilot: Mapping[str, Any]
) -> list[Row[Any]]:
    """Hands out up to `count` waiting jobs, highest priority first, each to one caller only."""
    # A single one, as most pilots want it, is handed out however large it is.
    candidates = (
        select(jobs.c.job_id, SIZE if count > 1 else literal(0))
        .where(jobs.c.status == states.ACTIVATED, *wanted)
        .order_by(jobs.c.priority.desc(), jobs.c.job_id)
    )
    sent = {"status": states.SENT, "modified": now(), "started": now(), **pilot}
    if connection.dialect.name in _SKIP_LOCKED:
        # Rows that another pilot is taking are passed over, not waited for.
        taken = list(_fitting(connection.execute(candidates.limit(count).with_for_update(skip_locked=True)).all()))
        if taken:
            connection.execute(update(jobs).where(jobs.c.job_id.in_(taken)).values(**sent))
    else:
        taken, total = [], 0
        for job_id, size in connection.execute(candidates.limit(count + _SPARE)).all():
            if taken and total + size > MAX_ANSWER:
                break
            mine = and_(jobs.c.job_id == job_id, jobs.c.status == states.ACTIVATED)
            if connection.execute(update(jobs).where(mine).values(**sent)).rowcount == 1:
                taken.append(job_id)
                total += size
                if len(taken) == count:
                    break
    if not taken:
        return []
    rows = connection.execute(select(jobs).where(jobs.c.job_id.in_(taken))).all()
    return sorted(rows, key=lambda row: (-row.priority, row.job_id))


def _fitting(rows: Iterable[Any]) -> Iterator[int]:
    """The first of the jobs, as long as they fit into an answer."""
    total = 0
    for job_id, size in rows:
        if total and total + size > MAX_ANSWER:
            return
        total += size
        yield job_id


def files_of(connection: Connection, job_ids: Iterable[int]) -> dict[int, list[Row[Any]]]:
    """The files of several jobs, by job."""
    found: dict[int, list[Row[Any]]] = {job_id: [] for job_id in job_ids}
    if found:
        query = select(files).where(among(files.c.job_id, found)).order_by(files.c.file_id)
        for row in connection.execute(query):
            found[row.job_id].append(row)
    return found


def report(
    connection: Connection, job_id: int, status: str, attempt: int | None, details: Mapping[str, Any]
) -> str | None:
    """Takes a pilot's report and returns the command for it; None if the job cannot be moved to that state.

    `finished` and `failed` make the job `holding`, until the adder has looked at its files.
    """
    values: dict[str, Any] = {**details, "modified": now()}
    if status in (states.FINISHED, states.FAILED):
        values.update(status=states.HOLDING, reported=status, ended=now())
    else:
        values.update(status=status)
    earlier: tuple[str, ...] = states.WITH_PILOT
    if status in (states.STARTING, states.RUNNING):
        # A report that was overtaken by a later one is a sign of life, but moves nothing back.
        later = states.WITH_PILOT[states.WITH_PILOT.index(status) + 1 :]
        earlier = tuple(state for state in states.WITH_PILOT if state not in later)
    mine = [jobs.c.job_id == job_id, jobs.c.reported.is_(None)]
    if attempt is not None:
        mine.append(jobs.c.attempt == attempt)
    # A job that the pilot itself put into holding may still move on.
    movable = jobs.c.status.in_((*earlier, states.HOLDING))
    moved = connection.execute(update(jobs).where(*mine, movable).values(**values)).rowcount == 1
    row = connection.execute(
        select(jobs.c.status, jobs.c.attempt, jobs.c.command).where(jobs.c.job_id == job_id)
    ).one_or_none()
    if row is None:
        return KILL
    if moved:
        return str(row.command or NO_COMMAND)
    if attempt is not None and row.attempt != attempt:
        return "badattemptnr"
    if row.status == states.CANCELLED:
        return KILL
    if row.status in (states.HOLDING, *states.FINAL):
        return "alreadydone"
    if row.status in states.WITH_PILOT:
        values = {"modified": now()}
        connection.execute(update(jobs).where(*mine, jobs.c.status.in_(states.WITH_PILOT)).values(**values))
        return str(row.command or NO_COMMAND)
    return None


def cancel(connection: Connection, wanted: "ColumnElement[bool]", reason: str) -> int:
    """Ends waiting jobs at once, and tells the pilots of the others; returns how many were ended or told."""
    end = {
        "status": states.CANCELLED,
        "modified": now(),
        "ended": now(),
        "error_source": "server",
        "error_text": reason,
    }
    ended = connection.execute(update(jobs).where(wanted, jobs.c.status == states.ACTIVATED).values(**end)).rowcount
    # A job that is holding gets no other attempt; its pilot is told if it has not said its last word.
    told = update(jobs).where(wanted, jobs.c.status.in_((*states.WITH_PILOT, states.HOLDING)), jobs.c.command.is_(None))
    return ended + connection.execute(told.values(command=KILL)).rowcount


def fail(connection: Connection, job: Row[Any], source: str, text: str) -> str | None:
    """Ends a job as failed, if it still is as `job` shows it, and gives it a next attempt if one is left.

    A task that is being ended gets none, nor does a job that was killed since. One whose pilot says itself that it is
    done, after it was killed, is cancelled. Returns the state in which the job ended.
    """
    # The task first, as whoever kills or finishes it does: one of the two waits, and sees what the other did.
    task = select(tasks.c.status).where(tasks.c.task_id == job.task_id).with_for_update()
    wanted = job.task_id is None or connection.scalar(task) == states.RUNNING
    same = and_(jobs.c.job_id == job.job_id, jobs.c.status == job.status, jobs.c.modified == job.modified)
    present = connection.execute(select(jobs.c.command).where(same).with_for_update()).one_or_none()
    if present is None:
        return None
    status = states.CANCELLED if present.command == KILL and job.reported else states.FAILED
    values = {"status": status, "modified": now(), "ended": now(), "command": None}
    values |= {"error_source": source, "error_text": text[:500]}
    if source != job.error_source:
        values["error_code"] = None  # the other's
    connection.execute(update(jobs).where(jobs.c.job_id == job.job_id).values(**values))
    limit = job.max_attempts + (UNHEARD_OF if job.status == states.SENT else 0)
    if wanted and job.attempt < limit and present.command != KILL:
        next_attempt(connection, job)
    return status


def resource_type(cores: int) -> str:
    """The kind of a queue's resources that a job of so many cores takes, where nobody names one."""
    return "SCORE" if cores == 1 else "MCORE"


def next_attempt(connection: Connection, job: Row[Any], changes: Mapping[str, Any] | None = None) -> None:
    """A new job for the same work. The old one stays as it ended, so a late report about it moves nothing."""
    same = "task_id serial name owner user_name label site priority resource_type cores memory disk transformation"
    values = {name: getattr(job, name) for name in (*same.split(), "parameters", "specification")}
    values |= {"status": states.ACTIVATED, "attempt": job.attempt + 1, "max_attempts": job.max_attempts}
    values |= {"created": now(), "modified": now(), **(changes or {})}
    job_id = add_row(connection, jobs, values)
    columns = [files.c.type, files.c.lfn, files.c.dataset, files.c.scope]
    old = connection.execute(select(*columns).where(files.c.job_id == job.job_id).order_by(files.c.file_id)).all()
    if old:
        status = [{**row._mapping, "job_id": job_id, "status": "defined"} for row in old]
        connection.execute(insert(files), status)


def for_pilot(job: Row[Any], its_files: Sequence[Row[Any]]) -> dict[str, Any]:
    """A job as acquire_jobs hands it to a pilot."""
    extra = json.loads(job.specification or "{}")
    inputs = [file for file in its_files if file.type in _INPUT]
    outputs = [file for file in its_files if file.type not in _INPUT]
    log = next((file for file in outputs if file.type == "log"), None)

    only_some: dict[str, object] = {}
    if extra.get("container_name"):
        only_some["container_name"] = extra["container_name"]
    if NO_LOOPING_CHECK in str(extra.get("specialHandling", "")).split(","):
        only_some["loopingCheck"] = False

    def joined(rows: Iterable[Row[Any]], column: str) -> str:
        return ",".join(str(getattr(row, column) or "") for row in rows)

    return {
        "StatusCode": 0,
        "PandaID": job.job_id,
        "prodSourceLabel": job.label,
        "swRelease": extra.get("AtlasRelease", "NULL"),
        "homepackage": extra.get("homepackage", "NULL"),
        "transformation": job.transformation,
        "jobName": job.name,
        "jobDefinitionID": extra.get("jobDefinitionID", job.task_id),
        "cloud": extra.get("cloud", "NULL"),
        "inFiles": joined(inputs, "lfn"),
        "realDatasetsIn": joined(inputs, "dataset"),
        "GUID": joined(inputs, "guid"),
        "fsize": joined(inputs, "size"),
        "checksum": joined(inputs, "checksum"),
        "scopeIn": joined(inputs, "scope"),
        "outFiles": joined(outputs, "lfn"),
        "realDatasets": joined(outputs, "dataset"),
        "destinationDblock": joined(outputs, "dataset"),
        "scopeOut": joined((file for file in outputs if file is not log), "scope"),
        "scopeLog": (log.scope if log else None) or "",
        "logFile": log.lfn if log else "",
        "logGUID": (log.guid if log else None) or "",
        "ddmEndPointIn": "",
        "ddmEndPointOut": "",
        "jobPars": job.parameters or "",
        "attemptNr": job.attempt,
        "prodUserID": extra.get("prodUserID", job.user_name),
        "maxCpuCount": extra.get("maxCpuCount", 0),
        "minRamCount": job.memory,
        "maxDiskCount": job.disk,
        "cmtConfig": extra.get("cmtConfig", ""),
        "processingType": extra.get("processingType", "NULL"),
        "transferType": extra.get("transferType", "NULL"),
        "sourceSite": extra.get("sourceSite", "NULL"),
        "currentPriority": job.priority,
        "taskID": job.task_id,
        "coreCount": job.cores,
        "jobsetID": extra.get("jobsetID", job.task_id),
        "reqID": job.task_id,
        "maxWalltime": extra.get("maxWalltime", 0),
        "resource_type": job.resource_type or "SCORE",
        "nSent": 0,
        **only_some,
    }


def count_worker(connection: Connection, harvester: str, worker: int, count: int, values: Mapping[str, Any]) -> None:
    """Notes what is heard of a worker: a batch job in which pilots run."""
    mine = and_(workers.c.harvester_id == harvester, workers.c.worker_id == worker)
    seen = {**values, "modified": now()}
    change = update(workers).where(mine).values(jobs=workers.c.jobs + count, **seen)
    if connection.execute(change).rowcount == 0:
        row = {"harvester_id": harvester, "worker_id": worker, "status": "running", "jobs": count, "first_seen": now()}
        try:
            with connection.begin_nested():
                connection.execute(insert(workers).values(**{**row, **seen}))
        except IntegrityError:  # another pilot of the worker was first
            connection.execute(change)
