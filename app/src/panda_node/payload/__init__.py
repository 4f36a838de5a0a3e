"""What serves the requests: the bundled application, or the public panda-server package mounted as it is.

A payload is a module with the functions of `Payload`; nothing outside this package asks which of them runs.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from panda_node.config import BUNDLED, PANDA_SERVER, Settings

if TYPE_CHECKING:
    from panda_node.db.version import Requirement


class Payload(Protocol):
    """What a node needs of its payload."""

    def prepare(self, settings: Settings) -> None:
        """Before the first worker is forked: refuses a bad configuration, loads what the workers share."""

    def create_application(self, settings: Settings) -> Any:
        """The WSGI application of one worker."""

    def requirement(self, settings: Settings) -> "Requirement":
        """The schema that this release needs."""

    def configuration_faults(
        self, settings: Settings, directories: Sequence[Path], overlay: Path | None, environ: Mapping[str, str]
    ) -> list[str]:
        """What is wrong beyond what is judged for every payload."""

    def burn_in(self, settings: Settings, path: Path, wait: float) -> list[str]:
        """Shows over the application's socket that it works; a line for each thing done."""

    def end_worker(self) -> None:
        """The last thing that a worker does, when it has answered everything."""

    def run_daemon(self, settings: Settings) -> None:
        """Periodic work, until SIGTERM."""

    def run_service(self, name: str) -> None:
        """Another service of the payload, `jedi` or `mcp`, until SIGTERM; a ConfigurationError where it has none."""


_MODULES = {BUNDLED: "panda_node.payload.bundled", PANDA_SERVER: "panda_node.payload.panda_server"}


def of(name: str) -> Payload:
    """The payload of this name; the bundled one for a name that is none, which is a fault of the configuration."""
    return cast(Payload, importlib.import_module(_MODULES.get(name, _MODULES[BUNDLED])))
