"""Waiting for what comes by itself, and a port that is free."""

import socket
import time
from collections.abc import Callable


def eventually(statement: Callable[[], object], seconds: float = 10) -> None:
    """Waits until the statement is true."""
    deadline = time.monotonic() + seconds
    while not statement():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
