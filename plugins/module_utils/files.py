"""Writing to files so that an error names the file, and nothing half-written is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Let an OSError name this file: that of writing to an open one, on a full disk for example, names none."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def replace(path: Path, text: str) -> None:
    """Replace a file that everybody may read in one step; OSError with the path of the file where that fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with naming(path):
            temporary.write_text(text)
            temporary.chmod(0o644)
            temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
