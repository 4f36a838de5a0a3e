"""Copies stdin to a file that may be renamed at any time: `python -m panda_node.log_writer FILE`, for httpd's logs.

httpd sends SIGTERM to its loggers both when it stops and when it reloads. At a reload its old children still finish
requests and write to the pipe, so this process stays until the pipe ends. At a stop httpd itself keeps the pipe open
and waits for its loggers, so this process leaves once there is nobody left to write. No line is lost in either case.

Few modules are imported, because httpd runs one such process per log.
"""

import os
import select
import signal
import sys

CHUNK = 1 << 16
POLL_SECONDS = 0.25
"""How often a logger that was told to end looks whether it may."""


class LogFile:
    """The file under its name. If it was renamed or removed, the next write begins a new one."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self._identity = (0, 0)
        self._dropped = 0

    def write(self, lines: bytes) -> None:
        """Writes whole lines. What cannot be written is dropped: httpd must never wait for a full disk."""
        try:
            self._follow()
            while lines:
                lines = lines[os.write(self._descriptor, lines) :]
        except OSError as error:
            if not self._dropped:
                self._say(f"log lines are being lost: {error}")
            self._dropped += len(lines)
        else:
            if self._dropped:
                self._say(f"writing again; {self._dropped} bytes were lost")
                self._dropped = 0

    def _follow(self) -> None:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            pass
        else:
            if self._descriptor >= 0 and self._identity == (status.st_dev, status.st_ino):
                return
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        status = os.fstat(self._descriptor)
        self._identity = (status.st_dev, status.st_ino)

    def _say(self, message: str) -> None:
        try:  # noqa: SIM105 (contextlib would be one more import)
            os.write(2, f"{self._path}: {message}\n".encode())
        except OSError:
            pass


class Stop:
    """Becomes true at SIGTERM, which also makes `descriptor` readable and so ends a wait."""

    def __init__(self) -> None:
        self.descriptor, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._told = False

    def wait(self, source: int) -> bool:
        """Waits for something to read from `source`; False: it is time to leave."""
        while True:
            watched = [source] if self._told else [source, self.descriptor]
            readable, _, _ = select.select(watched, [], [], POLL_SECONDS if self._told else None)
            if source in readable:
                return True
            if self._told and not httpd_children():
                # Asked once more: the last child may have written between the question above and its end.
                return bool(select.select([source], [], [], 0)[0])
            self._told = self._told or self.descriptor in readable


def httpd_children() -> bool:
    """Whether the parent has children of its own kind, which may still write. In doubt it has."""
    parent = os.getppid()
    try:
        kind = _read(f"/proc/{parent}/comm")
        children = _read(f"/proc/{parent}/task/{parent}/children").split()
        return any(_read(f"/proc/{child.decode()}/comm") == kind for child in children)
    except OSError:
        return True


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, CHUNK)
    finally:
        os.close(descriptor)


def copy(source: int, log: LogFile, stop: Stop) -> None:
    """Copies until the end of `source`. An unfinished line waits for its rest, so that rotation never cuts a line."""
    unfinished = b""
    while stop.wait(source) and (chunk := os.read(source, CHUNK)):
        complete, newline, unfinished = (unfinished + chunk).rpartition(b"\n")
        if newline:
            log.write(complete + newline)
        if len(unfinished) >= CHUNK:
            log.write(unfinished)
            unfinished = b""
    if unfinished:
        log.write(unfinished)


def main() -> None:
    """Runs until stdin ends, or httpd does."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m panda_node.log_writer FILE")
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(ignored, signal.SIG_IGN)
    os.umask(0o022)
    copy(0, LogFile(sys.argv[1]), Stop())


if __name__ == "__main__":
    main()
