"""/api/v1/job/: single jobs, and jobs that were submitted without a task."""

import json
from typing import Any

from sqlalchemy import insert, select

from panda_node.db.tables import among, files, jobs
from panda_node.web.methods import Call, RefusalError, method
from panda_node.work import jobs as work
from panda_node.work import states
from panda_node.work.description import described
from panda_node.work.job_specification import read_jobs
from panda_node.work.tasks import DEFAULT_PRIORITY

MAX_IDS = 5500
MAX_DESCRIBED = 50_000_000
"""Characters of the jobs of one answer: enough for so many, unless they are very large."""
_DESCRIBED = [column for column in jobs.c if column.name not in ("report", "log_extract")]


@method("POST")
def submit(call: Call, jobs: str) -> list[list[object]]:
    """Takes jobs without a task, in the form of the client's JobSpec; returns the number of each."""
    submitted = read_jobs(jobs)
    for job in submitted:
        if job.get("prodSourceLabel", "user") not in ("user", "test", "panda") and not call.production:
            raise RefusalError(f"{call.client.name} is missing the production role for {job['prodSourceLabel']} jobs")
        if not isinstance(job.get("computingSite"), str):
            raise RefusalError("a job lacks its computingSite")
    result: list[list[object]] = []
    with call.database.writing("job submit") as connection:
        for job in submitted:
            job_id = work.add_row(connection, _jobs, _row(call, job))
            result.append(
                [job_id, work.whole_number(job, "jobDefinitionID"), {"jobsetID": work.whole_number(job, "jobsetID")}]
            )
            rows = [_file(job_id, file) for file in job["Files"] if file.get("lfn")]
            if rows:
                connection.execute(insert(files), rows)
    return result


_jobs = jobs  # the argument of `submit` has the same name


def _row(call: Call, job: dict[str, Any]) -> dict[str, object]:
    attempts = max(1, min(work.whole_number(job, "maxAttempt", 1), 100))
    label = str(job.get("prodSourceLabel", "user"))
    cores = max(1, work.whole_number(job, "coreCount", 1))
    priority = work.whole_number(job, "currentPriority", work.whole_number(job, "assignedPriority", DEFAULT_PRIORITY))
    if not call.production or label in ("user", "panda"):
        job["prodUserID"] = call.client.dn
    if not call.production:
        priority = min(priority, DEFAULT_PRIORITY)
    return {
        "name": work.cut(job.get("jobName"), 256),
        "owner": call.client.key,
        "user_name": call.client.name,
        "label": work.cut(label, 20),
        "site": work.cut(job["computingSite"], 100),
        "status": states.ACTIVATED,
        "attempt": 1,
        "max_attempts": attempts,
        "priority": priority,
        "resource_type": work.cut(job.get("resource_type", work.resource_type(cores)), 16),
        "cores": cores,
        "memory": max(0, work.whole_number(job, "minRamCount")),
        "disk": max(0, work.whole_number(job, "maxDiskCount")),
        "transformation": work.cut(job.get("transformation"), 500),
        "parameters": str(job.get("jobParameters", "")),
        "specification": json.dumps(
            {key: value for key, value in job.items() if key not in ("Files", "jobParameters")}
        ),
        "created": work.now(),
        "modified": work.now(),
    }


def _file(job_id: int, file: dict[str, Any]) -> dict[str, object]:
    return {
        "job_id": job_id,
        "type": work.cut(file.get("type", "output"), 16),
        "lfn": work.cut(file["lfn"], 512),
        "dataset": work.cut(file.get("dataset"), 512),
        "scope": work.cut(file.get("scope"), 64),
        "guid": work.cut(file.get("GUID"), 64),
        "size": work.whole_number(file, "fsize", bits=63) or None,
        "checksum": work.cut(file.get("checksum") or file.get("md5sum"), 64),
        "status": "defined",
    }


@method("POST")
def kill(
    call: Call,
    job_ids: list[int],
    code: int | None = None,
    use_email_as_id: bool = False,
    kill_options: list[str] | None = None,
) -> list[bool]:
    """Kills jobs: waiting ones now, the others when their pilots next report. True for each that this call kills.

    False for one that has ended or was killed before, and for one that is not the client's.
    """
    _bounded(job_ids)
    active = jobs.c.status.in_(states.ACTIVE) & jobs.c.command.is_(None)
    query = select(jobs.c.job_id, jobs.c.owner).where(among(jobs.c.job_id, job_ids), active)
    with call.database.writing("job kill") as connection:
        # Locked: of two clients at once, only one has killed a job.
        rows = connection.execute(query.order_by(jobs.c.job_id).with_for_update())
        mine = {row.job_id for row in rows if call.production or row.owner == call.client.key}
        work.cancel(connection, among(jobs.c.job_id, mine), f"killed by {call.client.name}"[:500])
    return [job_id in mine for job_id in job_ids]


@method("GET")
def get_status(call: Call, job_ids: list[int], timeout: int = 60) -> list[dict[str, object]]:
    """The state of each job and the command that waits for its pilot."""
    _bounded(job_ids)
    with call.database.reading("job status") as connection:
        query = select(jobs.c.job_id, jobs.c.status, jobs.c.command).where(among(jobs.c.job_id, job_ids))
        known = {row.job_id: row for row in connection.execute(query)}
    return [
        {"command": known[job_id].command, "status": known[job_id].status}
        if job_id in known
        else {"command": work.KILL, "status": "unknown"}
        for job_id in job_ids
    ]


@method("GET", also="POST")  # the client of release 2.2 asks by POST
def get_description(call: Call, job_ids: list[int]) -> list[dict[str, object] | None]:
    """All that is known of each job and its files; null for one that is not known."""
    _bounded(job_ids)
    wanted = among(jobs.c.job_id, job_ids)
    with call.database.reading("job description") as connection:
        if sum(connection.scalars(select(work.SIZE).where(wanted))) > MAX_DESCRIBED:
            raise RefusalError(f"the answer would be too long: ask for fewer of these {len(job_ids)} jobs at once")
        known = {row.job_id: row for row in connection.execute(select(*_DESCRIBED).where(wanted))}
        its_files = work.files_of(connection, known)
    return [described(known[job_id], its_files[job_id]) if job_id in known else None for job_id in job_ids]


@method("GET", also="POST")
def get_description_incl_archive(call: Call, job_ids: list[int]) -> list[dict[str, object] | None]:
    """The same: nothing is moved to an archive here."""
    return get_description(call, job_ids)


def _bounded(job_ids: list[int]) -> None:
    if len(job_ids) > MAX_IDS:
        raise RefusalError(f"{len(job_ids)} jobs are asked for, {MAX_IDS} at most can be at once")
