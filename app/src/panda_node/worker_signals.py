"""No signal to a worker is lost while it is being forked.

Between its fork and its own signal handlers a worker has those of gunicorn's arbiter, which note a signal and leave it
to a loop that only the arbiter runs. A SIGTERM of that moment would be lost, and the stop of the whole service would
take until gunicorn kills the worker.
"""

import os
import signal

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def hold_across_forks() -> None:
    """In the arbiter: what is sent to a new worker waits until it calls `accept`."""
    arbiter = os.getpid()

    def hold() -> None:
        if os.getpid() == arbiter:
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def release() -> None:
        if os.getpid() == arbiter:
            accept()

    os.register_at_fork(before=hold, after_in_parent=release)


def accept() -> None:
    """In a worker that has its handlers: takes what was sent meanwhile."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
