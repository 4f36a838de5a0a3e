"""Writing to files so that an error names the file, and nothing half-written is left."""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Replace a file that everybody may read in one step; OSError with the path of the file where that fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        # Writing to an open file, on a full disk for example, names none.
        raise OSError(error.errno, error.strerror, str(path)) from error
