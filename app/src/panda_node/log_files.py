"""Log files that several processes write and that may be renamed under them at any time (no signal, no restart)."""

import logging
import os
import sys
import time
from logging.handlers import WatchedFileHandler
from pathlib import Path

from panda_node.config_files import COMMON_FILE
from panda_node.errors import ConfigurationError

# The public package's line format; its times are UTC as well.
_FORMAT = "%(asctime)s %(name)-12s: %(levelname)-8s %(message)s"
_LOGGER_PREFIX = "panda.log."

ENTRY = "Entry"
"""panda-Entry.log: one line per request."""
POOL = "DBProxyPool"
"""panda-DBProxyPool.log: connections opened and lost."""
STATEMENTS = "DBProxy"
"""panda-DBProxy.log: each piece of work done in the database, and those that failed."""
DAEMONS = "daemons"
"""panda-daemons.log: runs of periodic jobs."""


class SharedFileHandler(WatchedFileHandler):
    """Appends each record in a single write, so that lines of several processes never mix; follows a renamed file."""

    def __init__(self, file: Path | str, encoding: str = "utf-8") -> None:
        super().__init__(file, encoding=encoding)
        self._failing = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
            self.reopenIfNeeded()
            assert self.stream is not None
            os.write(self.stream.fileno(), line)
            self._failing = False
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        """One line on stderr when writing begins to fail (a full disk, say), not one per record."""
        if not self._failing:
            self._failing = True
            print(f"{self.baseFilename}: log lines are being lost: {sys.exc_info()[1]}", file=sys.stderr, flush=True)


def formatter() -> logging.Formatter:
    """The line format of all panda-*.log files."""
    lines = logging.Formatter(_FORMAT)
    lines.converter = time.gmtime
    return lines


def open_logs(directory: Path, level: str, *names: str) -> None:
    """Opens (and creates) panda-<name>.log in `directory` for each name; a second call replaces the first."""
    for name in names:
        log = get(name)
        log.setLevel(level)
        log.propagate = False
        for old in list(log.handlers):
            log.removeHandler(old)
            old.close()
        try:
            handler = SharedFileHandler(directory / f"panda-{name}.log")
        except OSError as error:
            raise ConfigurationError(
                [f"{COMMON_FILE}: [logger] logdir: cannot write there: {error}; create it for the service's account"]
            ) from error
        handler.setFormatter(formatter())
        log.addHandler(handler)


def get(name: str) -> logging.Logger:
    """The logger that writes panda-<name>.log once open_logs has been called; silent before."""
    log = logging.getLogger(_LOGGER_PREFIX + name)
    if not log.handlers:
        log.addHandler(logging.NullHandler())
        log.propagate = False
    return log
