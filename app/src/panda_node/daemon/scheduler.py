"""Starts each job when it is due, ends what runs too long, and stops cleanly on SIGTERM."""

import importlib
import math
import multiprocessing
import os
import signal
import socket
import time
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from panda_node import log_files
from panda_node.config import JobSettings, Settings
from panda_node.daemon import job as job_run
from panda_node.errors import ConfigurationError
from panda_node.systemd import notify
from panda_node.work.plugins import Plugins

STOP_SECONDS = 3.0
"""A stopping daemon gives running jobs so long to end by themselves."""
LOGS = (log_files.DAEMONS, log_files.POOL, log_files.STATEMENTS)
_STATUS_PERIOD = 5.0

_log = log_files.get(log_files.DAEMONS)
_fork = multiprocessing.get_context("fork")


@dataclass
class _Entry:
    job: JobSettings
    due: float = field(default_factory=time.monotonic)
    process: BaseProcess | None = None
    ends: float = 0.0


class Scheduler:
    """The daemon's main process. It holds no database connection and no thread, so that it can fork at any time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._entries = [_Entry(job) for job in settings.daemon.jobs]
        self._stopping = False
        self._runs = self._failures = 0

    def run(self) -> None:
        """Works until SIGTERM or SIGINT."""
        os.umask(0o022)
        log_files.open_logs(self._settings.log_directory, self._settings.log_level, *LOGS)
        if not self._settings.daemon.enable:
            _log.info("nothing to do: [daemon] enable is False in panda_server.cfg")
            notify(READY=1, STATUS="Disabled: [daemon] enable is False")
            return
        self._import_jobs()
        # Signals wake the waiting below through a pipe; a handler alone would let it sleep on.
        wake, woken = socket.socketpair()
        wake.setblocking(False)
        woken.setblocking(False)
        signal.set_wakeup_fd(wake.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # Logs follow a rename by themselves; there is nothing to reload.
        _log.info("started with %s", ", ".join(entry.job.name for entry in self._entries) or "no job")
        notify(READY=1, STATUS=self._status())
        while not self._stopping:
            self._reap()
            self._start_due()
            notify(STATUS=self._status())
            running = [entry.process.sentinel for entry in self._entries if entry.process]
            if woken in wait([woken, *running], timeout=self._pause()):
                woken.recv(4096)
        self._end()

    def _import_jobs(self) -> None:
        """Before the first fork, so that a run costs no import; a job that cannot be imported is an error now."""
        faults = []
        for entry in self._entries:
            try:
                importlib.import_module(entry.job.module)
            except ImportError as error:
                faults.append(f"[daemon] config: job {entry.job.name}: cannot import {entry.job.module}: {error}")
        try:
            Plugins(self._settings)
        except ConfigurationError as error:
            faults += error.faults
        if faults:
            for fault in faults:
                _log.error("%s", fault)
            raise ConfigurationError(faults)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _start_due(self) -> None:
        now = time.monotonic()
        free = self._settings.daemon.processes - sum(entry.process is not None for entry in self._entries)
        waiting = [entry for entry in self._entries if entry.process is None and entry.due <= now]
        for entry in sorted(waiting, key=lambda entry: entry.due)[: max(0, free)]:
            entry.process = _fork.Process(target=job_run.run_and_exit, args=(self._settings, entry.job), daemon=True)
            entry.process.start()
            # A job shared with other nodes is asked for more often than it runs: its period is the lock's business.
            entry.due = now + (min(entry.job.period, 60) if entry.job.sync else entry.job.period)
            entry.ends = now + entry.job.timeout

    def _reap(self) -> None:
        now = time.monotonic()
        for entry in self._entries:
            if entry.process is None:
                continue
            if entry.process.is_alive():
                if now >= entry.ends:
                    _log.error("%s ended by force: not done within %g s", entry.job.name, entry.job.timeout)
                    entry.process.kill()
                    # Once is enough: in uninterruptible sleep it ends as soon as it wakes.
                    entry.ends = math.inf
                continue
            code = entry.process.exitcode
            entry.process.close()
            entry.process = None
            if code == job_run.SKIPPED:
                continue
            self._runs += 1
            if code:
                self._failures += 1
                if code < 0:
                    _log.error("%s was ended by signal %d", entry.job.name, -code)

    def _pause(self) -> float:
        now = time.monotonic()
        moments = [entry.ends if entry.process else max(entry.due, now + 0.1) for entry in self._entries]
        return min([max(0.0, moment - now) for moment in moments] + [_STATUS_PERIOD])

    def _status(self) -> str:
        now = time.monotonic()
        running = [entry.job.name for entry in self._entries if entry.process]
        waiting = [entry for entry in self._entries if not entry.process]
        upcoming = min(waiting, key=lambda entry: entry.due, default=None)
        coming = f"{upcoming.job.name} in {max(0, upcoming.due - now):.0f} s" if upcoming else "none"
        counts = f"Jobs run: {self._runs}; Failed: {self._failures}"
        return f"{counts}; Running: {', '.join(running) or 'none'}; Next: {coming}"

    def _end(self) -> None:
        notify(STOPPING=1, STATUS="Stopping")
        processes = [entry.process for entry in self._entries if entry.process]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        _log.info("stopped after %d runs, %d of them failed", self._runs, self._failures)
