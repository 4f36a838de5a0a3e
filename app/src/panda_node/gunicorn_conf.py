"""How gunicorn runs the application: `--config python:panda_node.gunicorn_conf`.

Every name of gunicorn's settings in this module is a setting, so nothing else may be called so.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from gunicorn import glogging, util
from prometheus_client import multiprocess

from panda_node import config as panda_config
from panda_node import payload as payloads
from panda_node import worker_signals, worker_sockets
from panda_node.errors import ConfigurationError
from panda_node.log_files import SharedFileHandler
from panda_node.systemd import notify
from panda_node.worker_board import WorkerBoard

STATUS_PERIOD = 5.0

_wsgi = panda_config.wsgi_settings(os.environ, faults=[])  # on_starting reports them, with all others
_board = WorkerBoard()
_payload = payloads.of(os.environ.get(panda_config.PAYLOAD_VARIABLE, panda_config.BUNDLED))

workers = _wsgi.workers
threads = _wsgi.threads
# With one thread per process, as by default, the plain worker answers half as many requests again.
worker_class = "gthread" if threads > 1 else "sync"
backlog = _wsgi.backlog
# A worker accepts what it can serve at once and leaves the rest in the kernel's queue, where an idle worker finds it:
# nothing waits behind a slow request, and nothing is queued inside a worker that is about to stop.
worker_connections = threads
keepalive = 0
# Without a socket from systemd, for development.
bind = os.environ.get("PANDA_WSGI_BIND", "127.0.0.1:25480")
# A worker that is stuck for so long is killed and replaced. Twice the time that a statement may take by default.
timeout = 600
graceful_timeout = 30
max_requests = 0
# Headers in which a peer could tell gunicorn another path than the one it asked for; nobody of ours sends them.
forwarder_headers = ""
control_socket_disable = True
proc_name = "panda_wsgi"


class ErrorLog(glogging.Logger):  # type: ignore[misc]
    """gunicorn's messages go to the journal, and to panda_wsgi_error_log, which may be rotated at any time."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        try:
            handler: Any = SharedFileHandler(_log_directory() / "panda_wsgi_error_log")
        except OSError as error:
            self.error_log.error("no panda_wsgi_error_log: %s", error)
            return
        handler.setFormatter(self.error_log.handlers[0].formatter)
        handler._gunicorn = True  # gunicorn drops its own handlers before the next setup, at a reload.
        self.error_log.addHandler(handler)


logger_class = ErrorLog


def on_starting(server: Any) -> None:
    """Refuses a bad configuration before systemd is told that the service is ready."""
    os.umask(0o022)
    util.close_graceful = worker_sockets.close
    worker_signals.hold_across_forks()
    try:
        settings = panda_config.load()
        # Before the workers are forked, so that they share the memory and start at once. The application itself is
        # made in each worker (no preload_app): no connection crosses a fork.
        _payload.prepare(settings)
    except ConfigurationError as error:
        for fault in error.faults:
            print(fault, file=sys.stderr)
        sys.exit(error.exit_code)
    if directory := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        for leftover in Path(directory).glob("*.db"):
            leftover.unlink()


def when_ready(server: Any) -> None:
    """Starts the status line. A timer signal, not a thread: this process forks, and threads do not survive that."""

    def tell(_signal: int, _frame: FrameType | None) -> None:
        notify(STATUS=_board.status(server.num_workers * threads))

    signal.signal(signal.SIGALRM, tell)
    signal.setitimer(signal.ITIMER_REAL, 1.0, STATUS_PERIOD)


def on_exit(server: Any) -> None:
    """The workers are gone."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    notify(STOPPING=1)


def pre_fork(server: Any, worker: Any) -> None:
    """Gives the new worker its slot."""
    worker.board_slot = _board.assign()


def post_fork(server: Any, worker: Any) -> None:
    """The worker's own copy of the arbiter's state."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _board.use(worker.board_slot)


def pre_request(worker: Any, request: Any) -> None:
    """Counts the worker as busy."""
    _board.begin()


def post_request(worker: Any, request: Any, environ: Any, response: Any) -> None:
    """Counts the request."""
    _board.end()


def worker_exit(server: Any, worker: Any) -> None:
    """In the worker, unless it is the one that could not start: gunicorn tells that by its exit code."""
    if worker.booted:
        _payload.end_worker()


def child_exit(server: Any, worker: Any) -> None:
    """Takes the slot back, and the worker's live gauges out of the metrics."""
    _board.take_back(worker.board_slot)
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def _log_directory() -> Path:
    try:
        return panda_config.load().log_directory
    except ConfigurationError:
        return Path("/nonexistent")  # on_starting says what is wrong with the configuration.
