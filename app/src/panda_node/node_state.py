"""The node's state, which an operator (or an upgrade) writes into a file."""

from pathlib import Path

PRODUCTION = "production"
DRAINING = "draining"
MAINTENANCE = "maintenance"
STATES = (PRODUCTION, DRAINING, MAINTENANCE)
UNKNOWN = "unknown"


def read(file: Path) -> str:
    """The state in the file; `unknown` if it cannot be read or says something else."""
    try:
        state = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return UNKNOWN
    return state if state in STATES else UNKNOWN
