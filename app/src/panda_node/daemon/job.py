"""One run of one job, in a process of its own: what hangs, leaks or crashes there leaves the scheduler untouched."""

import importlib
import os
import signal
import socket
import time
from dataclasses import dataclass

from panda_node import log_files
from panda_node.config import JobSettings, Settings
from panda_node.db import locks
from panda_node.db.pool import Database

_log = log_files.get(log_files.DAEMONS)

SKIPPED = 75
"""Exit code of a run that did nothing, because another node holds the lock or ran the job within its period."""


@dataclass(frozen=True)
class JobContext:
    """What a job gets."""

    settings: Settings
    database: Database
    arguments: tuple[str, ...]


def run_and_exit(settings: Settings, job: JobSettings) -> None:
    """The child process's main: runs the job and leaves with 0, 1 or SKIPPED."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    try:
        code = _run(settings, job)
    except BaseException:
        _log.exception("%s failed", job.name)
        code = 1
    # Not sys.exit: nothing of the parent's, copied by the fork, shall be cleaned up here.
    os._exit(code)


def _run(settings: Settings, job: JobSettings) -> int:
    database = Database(settings.database)
    owner = f"{socket.getfqdn()}:{os.getpid()}"
    if job.sync and not locks.acquire(database, job.name, owner, job.period, job.timeout):
        return SKIPPED
    start = time.monotonic()
    try:
        outcome = importlib.import_module(job.module).run(JobContext(settings, database, job.arguments))
    finally:
        if job.sync:
            locks.release(database, job.name, owner)
        database.close()
    _log.info("%s done in %.3f s: %s", job.name, time.monotonic() - start, outcome)
    return 0
