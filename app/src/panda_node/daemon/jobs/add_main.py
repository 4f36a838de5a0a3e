"""Ends jobs whose pilots are done: an adder looks at the report, then the job is finished, or failed or cancelled."""

from collections import Counter
from typing import Any

from sqlalchemy import Row, select, update

from panda_node import log_files
from panda_node.daemon.job import JobContext
from panda_node.db.tables import files, jobs, tasks
from panda_node.errors import DatabaseUnreachableError
from panda_node.work import jobs as work
from panda_node.work import states
from panda_node.work.plugins import Plugins, read_report

AT_ONCE = 1000
DDM_ERROR = 200

_log = log_files.get(log_files.DAEMONS)


def run(context: JobContext) -> str:
    """Each job in a transaction of its own; one at which an adder fails is tried again with the next run."""
    plugins = Plugins(context.settings)
    with context.database.reading("jobs to add") as connection:
        columns = (*jobs.c, tasks.c.vo)
        wanted = (jobs.c.status == states.HOLDING, jobs.c.reported.is_not(None))
        query = select(*columns).outerjoin(tasks, tasks.c.task_id == jobs.c.task_id).where(*wanted)
        done = connection.execute(query.order_by(jobs.c.modified).limit(AT_ONCE)).all()
    ended: Counter[str | None] = Counter()
    for job in done:
        try:
            ended[_end(context, plugins, job)] += 1
        except DatabaseUnreachableError:
            raise
        except Exception:
            _log.exception("job %d cannot be added, it stays in holding", job.job_id)
            with context.database.writing("postpone job") as connection:
                # To the end of the queue: however many there are of its kind, the others have their turn.
                connection.execute(update(jobs).where(jobs.c.job_id == job.job_id).values(modified=work.now()))
    cancelled = f", {ended[states.CANCELLED]} cancelled" if ended[states.CANCELLED] else ""
    return f"{ended[states.FINISHED]} jobs finished, {ended[states.FAILED]} failed{cancelled}"


def _end(context: JobContext, plugins: Plugins, job: Row[Any]) -> str | None:
    with context.database.writing("add job") as connection:
        if job.reported == states.FAILED:
            text = job.error_text or f"the payload ended with exit code {job.exit_code or 0}"
            return work.fail(connection, job, job.error_source or "payload", text)
        its_files = work.files_of(connection, [job.job_id])[job.job_id]
        report = read_report(job.report)
        if problem := plugins.adder(job.vo or "").check(job, its_files, report):
            status = work.fail(connection, job, "ddm", problem)
            connection.execute(update(jobs).where(jobs.c.job_id == job.job_id).values(error_code=DDM_ERROR))
            return status
        values = {"status": states.FINISHED, "modified": work.now(), "command": None}
        same = (jobs.c.job_id == job.job_id) & (jobs.c.status == states.HOLDING)
        connection.execute(update(jobs).where(same).values(**values))
        for file in its_files:
            entry = report.get(file.lfn)
            if file.type in ("output", "log") and isinstance(entry, dict):
                connection.execute(update(files).where(files.c.file_id == file.file_id).values(**_measured(entry)))
        return states.FINISHED


def _measured(entry: dict[str, Any]) -> dict[str, Any]:
    size = str(entry.get("fsize"))
    return {
        "status": "ready",
        "guid": work.cut(entry.get("guid"), 64),
        "size": int(size) if size.isascii() and size.isdigit() and len(size) < 19 else None,
        "checksum": work.cut(entry.get("adler32") or entry.get("md5sum"), 64),
    }
