"""Whether this node should be given work: its state, its database and its schema."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from panda_node import log_files, node_state
from panda_node.errors import DatabaseReadOnlyError, DatabaseUnreachableError, SchemaMismatchError
from panda_node.timed import SharedCall

TIME_LIMIT = 2.0
"""Seconds within which the database has to answer."""
CACHE_SECONDS = 1.0
"""An answer of the database serves all probes for so long."""

_log = log_files.get(log_files.POOL)


@dataclass(frozen=True)
class Readiness:
    """Ready if there is no reason against it. Reasons are public: they name no host and no account."""

    state: str
    reasons: tuple[str, ...]

    @property
    def ready(self) -> bool:
        return not self.reasons


class ReadinessCheck:
    """Asks the database at most once per CACHE_SECONDS, and never waits longer than TIME_LIMIT for it."""

    def __init__(self, ask: Callable[[], object], state_file: Path, database: object) -> None:
        self._ask = SharedCall(ask, CACHE_SECONDS, TIME_LIMIT)
        self._database = database
        self._state_file = state_file
        self._last_reason: str | None = None

    def __call__(self) -> Readiness:
        state = node_state.read(self._state_file)
        reasons = []
        if state == node_state.UNKNOWN:
            reasons.append(
                f"node state is unknown: the state file is missing or not one of {', '.join(node_state.STATES)}"
            )
        elif state != node_state.PRODUCTION:
            reasons.append(f"node state is {state}")
        if reason := self._database_reason():
            reasons.append(reason)
        return Readiness(state, tuple(reasons))

    def _database_reason(self) -> str | None:
        reason, detail = None, ""
        try:
            self._ask()
        except TimeoutError:
            reason = f"database does not answer within {TIME_LIMIT:g} s"
        except SchemaMismatchError as error:
            reason = f"DB schema check: {error}"
        except DatabaseReadOnlyError:
            reason = "database is read-only"
        except DatabaseUnreachableError as error:
            reason, detail = "database unreachable", str(error)
        except Exception as error:
            reason, detail = "database check failed", repr(error)
        self._note(reason, detail)
        return reason

    def _note(self, reason: str | None, detail: str) -> None:
        """Logs changes only: probes come every few seconds."""
        if reason == self._last_reason:
            return
        self._last_reason = reason
        if reason:
            _log.error("not ready: %s: %s", reason, detail or self._database)
        else:
            _log.info("ready: database and schema are good")
