"""/api/v1/pilot/: what pilots do: take jobs, report on them, say that they are there."""

import json
from typing import Any

from sqlalchemy import ColumnElement, select

from panda_node.db.tables import jobs
from panda_node.identity import name_of
from panda_node.web import arguments
from panda_node.web.methods import METHODS, Answer, Call, RefusalError, method
from panda_node.work import jobs as work
from panda_node.work import states

SUCCESS, FAILED, INVALID = 0, 30, 50
VALID_JOB_STATES = ("running", "failed", "finished", "holding", "starting", "transferring")
MAX_REPORTS = 1000
NO_JOBS = "No jobs in PanDA"
_PRODUCTION, _USERS = ("managed", "test", "prod_test", "install"), ("user", "panda", "install")
# Labels of the jobs that a pilot takes, by the one it names (panda-server 1.0.4, DBProxy.getJobs); others: that label.
_LABELS = {None: _PRODUCTION, "managed": _PRODUCTION, "user": _USERS, "unified": _PRODUCTION + _USERS}
_TEST = ("test", "prod_test", "install")
"""Labels for `test`, if it comes from a computing element."""


@method("POST")
def acquire_jobs(
    call: Call,
    site_name: str,
    timeout: int = 60,
    memory: int | None = None,
    disk_space: int | None = None,
    prod_source_label: str | None = None,
    node: str | None = None,
    computing_element: str | None = None,
    prod_user_id: str | None = None,
    get_proxy_key: str | None = None,
    task_id: int | None = None,
    n_jobs: int = 1,
    background: bool | None = None,
    resource_type: str | None = None,
    harvester_id: str | None = None,
    worker_id: int | None = None,
    scheduler_id: str | None = None,
    job_type: str | None = None,
    via_topic: bool | None = None,
    remaining_time: float | str | None = None,
    target_architecture: dict[str, Any] | str | None = None,
) -> dict[str, object]:
    """Hands out waiting jobs of a queue, each to one pilot only. Without the production role: one's own jobs only."""
    if not call.production and prod_source_label != "user":
        raise RefusalError("no production/pilot role in VOMS FQANs or non pilot owner")
    labels = _LABELS.get(prod_source_label, (prod_source_label,))
    if prod_source_label == "test" and computing_element is not None:
        labels = _TEST
    wanted: list[ColumnElement[bool]] = [jobs.c.site == site_name, jobs.c.label.in_(labels)]
    if not call.production:
        wanted.append(jobs.c.owner == call.client.key)
    elif prod_user_id:
        wanted.append(jobs.c.user_name.in_((prod_user_id, name_of(prod_user_id))))
    if memory and memory > 0:
        wanted.append(jobs.c.memory <= memory)
    if disk_space and disk_space > 0:
        wanted.append(jobs.c.disk <= disk_space)
    if task_id is not None:
        wanted.append(jobs.c.task_id == task_id)
    if resource_type:
        wanted.append((jobs.c.resource_type == resource_type) | jobs.c.resource_type.is_(None))
    pilot = {"node": work.cut(node, 128), "scheduler_id": work.cut(scheduler_id or harvester_id, 128)}
    if not call.database.skips_locked:
        # Taking a job locks the whole database there, so that is left to pilots for which there may be one.
        with call.database.reading("any job?") as connection:
            query = select(jobs.c.job_id).where(jobs.c.status == states.ACTIVATED, *wanted).limit(1)
            if connection.scalar(query) is None:
                raise RefusalError(NO_JOBS)
    with call.database.writing("acquire jobs") as connection:
        taken = work.acquire(connection, wanted, max(1, min(n_jobs, work.MAX_AT_ONCE)), pilot)
        its_files = work.files_of(connection, [job.job_id for job in taken])
        if taken and harvester_id and worker_id is not None:
            seen = {"site": work.cut(site_name, 100), "node": pilot["node"]}
            work.count_worker(connection, harvester_id[:100], worker_id, len(taken), seen)
    if not taken:
        raise RefusalError(NO_JOBS)
    return {"StatusCode": SUCCESS, "jobs": [work.for_pilot(job, its_files[job.job_id]) for job in taken]}


@method("POST", production=True)
def update_job(
    call: Call,
    job_id: int,
    job_status: str,
    job_output_report: str = "",
    node: str | None = None,
    cpu_consumption_time: int | None = None,
    cpu_consumption_unit: str | None = None,
    scheduler_id: str | None = None,
    pilot_id: str | None = None,
    site_name: str | None = None,
    pilot_log: str = "",
    meta_data: str = "",
    cpu_conversion_factor: float | None = None,
    trans_exit_code: int | None = None,
    pilot_error_code: int | None = None,
    pilot_error_diag: str | None = None,
    exe_error_code: int | None = None,
    exe_error_diag: str | None = None,
    pilot_timing: str | None = None,
    start_time: str | None = None,
    end_time: str | None = None,
    n_events: int | None = None,
    n_input_files: int | None = None,
    batch_id: str | None = None,
    attempt_nr: int | None = None,
    job_metrics: str | None = None,
    stdout: str = "",
    job_sub_status: str | None = None,
    core_count: int | None = None,
    max_rss: float | None = None,
    max_vmem: float | None = None,
    max_swap: float | None = None,
    max_pss: float | None = None,
    avg_rss: float | None = None,
    avg_vmem: float | None = None,
    avg_swap: float | None = None,
    avg_pss: float | None = None,
    tot_rchar: float | None = None,
    tot_wchar: float | None = None,
    tot_rbytes: float | None = None,
    tot_wbytes: float | None = None,
    rate_rchar: float | None = None,
    rate_wchar: float | None = None,
    rate_rbytes: float | None = None,
    rate_wbytes: float | None = None,
    corrupted_files: str | None = None,
    mean_core_count: float | None = None,
    cpu_architecture_level: str | None = None,
    grid: str | None = None,
    source_site: str | None = None,
    destination_site: str | None = None,
    timeout: int = 60,
) -> dict[str, object]:
    """Takes a pilot's report, which is its sign of life too, and returns the command for it."""
    if job_status not in VALID_JOB_STATES:
        raise RefusalError(f"Invalid job status: {job_status}", {"StatusCode": INVALID})
    measures = {
        "cpuConsumptionTime": cpu_consumption_time,
        "cpuConsumptionUnit": cpu_consumption_unit,
        "cpuConversion": cpu_conversion_factor,
        "pilotTiming": pilot_timing,
        "nEvents": n_events,
        "nInputFiles": n_input_files,
        "jobMetrics": job_metrics,
        "actualCoreCount": core_count,
        "maxRSS": max_rss,
        "maxVMEM": max_vmem,
        "maxSWAP": max_swap,
        "maxPSS": max_pss,
        "avgRSS": avg_rss,
        "avgVMEM": avg_vmem,
        "avgSWAP": avg_swap,
        "avgPSS": avg_pss,
        "totRCHAR": tot_rchar,
        "totWCHAR": tot_wchar,
        "totRBYTES": tot_rbytes,
        "totWBYTES": tot_wbytes,
        "rateRCHAR": rate_rchar,
        "rateWCHAR": rate_wchar,
        "rateRBYTES": rate_rbytes,
        "rateWBYTES": rate_wbytes,
        "corruptedFiles": corrupted_files,
        "meanCoreCount": mean_core_count,
        "cpu_architecture_level": cpu_architecture_level,
        "grid": grid,
        "sourceSite": source_site,
        "destinationSite": destination_site,
        "metadata": meta_data or None,
        # The columns have room for one of the two, and what the server finds later takes its place.
        "pilotErrorCode": pilot_error_code or None,
        "pilotErrorDiag": work.cut(pilot_error_diag or None, 500),
        "exeErrorCode": exe_error_code or None,
        "exeErrorDiag": work.cut(exe_error_diag or None, 500),
    }
    measures = {name: value for name, value in measures.items() if value is not None}
    details = {
        "node": work.cut(node, 128),
        "pilot_id": work.cut(pilot_id, 200),
        "batch_id": work.cut(batch_id, 80),
        "scheduler_id": work.cut(scheduler_id, 128),
        "sub_status": work.cut(job_sub_status, 80),
        "exit_code": trans_exit_code,
        "started": _seconds(start_time),
        "report": job_output_report or None,
        "log_extract": (pilot_log or stdout)[-100_000:] or None,
        "measures": json.dumps(measures) if measures else None,
        **_error(pilot_error_code, pilot_error_diag, exe_error_code, exe_error_diag),
    }
    given = {name: value for name, value in details.items() if value is not None}
    with call.database.writing("update job") as connection:
        command = work.report(connection, job_id, job_status, attempt_nr, given)
    if command is None:
        message = f"Invalid state change: no pilot has job {job_id}, so it cannot be {job_status}"
        raise RefusalError(message, {"StatusCode": FAILED})
    return {"StatusCode": SUCCESS, "command": command}


def _error(
    pilot_code: int | None, pilot_text: str | None, payload_code: int | None, payload_text: str | None
) -> dict[str, object]:
    for source, code, text in (("pilot", pilot_code, pilot_text), ("payload", payload_code, payload_text)):
        if code or text:
            return {
                "error_source": source,
                "error_code": code or 1,
                "error_text": work.cut(text or f"code {code}", 500),
            }
    return {}


def _seconds(text: str | None) -> int | None:
    """A pilot's time; one that cannot be read is no reason to lose its report."""
    try:
        return work.from_time(text or "")
    except ValueError:
        return None


@method("POST", production=True)
def update_jobs_bulk(call: Call, job_list: list[dict[str, Any]], harvester_id: str | None = None) -> list[object]:
    """Takes several reports; returns the envelope of each, in order."""
    if len(job_list) > MAX_REPORTS:
        raise RefusalError(f"{len(job_list)} reports are sent, {MAX_REPORTS} at most can be at once", [])
    envelopes: list[object] = []
    update = METHODS["pilot", "update_job"]
    for report in job_list:
        try:
            values = arguments.bind(update, report, cast_text=False)
            envelopes.append({"success": True, "message": "", "data": update.handler(call, **values)})
        except RefusalError as refusal:
            envelopes.append({"success": False, "message": str(refusal), "data": refusal.data})
    return envelopes


@method("GET")
def get_job_status(call: Call, job_ids: list[int], timeout: int = 60) -> list[dict[str, object]]:
    """State and attempt of each job."""
    if len(job_ids) > MAX_REPORTS:
        raise RefusalError(f"{len(job_ids)} jobs are asked for, {MAX_REPORTS} at most can be at once")
    with call.database.reading("job status") as connection:
        query = select(jobs.c.job_id, jobs.c.status, jobs.c.attempt).where(jobs.c.job_id.in_(job_ids))
        known = {row.job_id: row for row in connection.execute(query)}
    return [
        {"job_id": job_id, "status": known[job_id].status, "attempt_number": known[job_id].attempt}
        if job_id in known
        else {"job_id": job_id, "status": "not found", "attempt_number": 0}
        for job_id in job_ids
    ]


@method("POST", production=True)
def update_worker_status(
    call: Call, worker_id: int | str, harvester_id: str, status: str, timeout: int = 60, node_id: str | None = None
) -> Answer:
    """Notes that a worker, a batch job in which pilots run, has started or finished."""
    valid = ("started", "finished")
    if status not in valid:
        raise RefusalError(f"Invalid worker state. The worker state has to be in {valid}")
    if isinstance(worker_id, str) and not (worker_id.isascii() and worker_id.isdigit() and len(worker_id) < 19):
        raise RefusalError("Type error: 'worker_id' must be a number")
    if not harvester_id:
        raise RefusalError("Argument error: 'harvester_id' is empty")
    values: dict[str, object] = {"status": status}
    if node_id:
        values["node"] = node_id[:128]
    with call.database.writing("worker status") as connection:
        work.count_worker(connection, harvester_id[:100], int(worker_id), 0, values)
    return Answer(None)
