"""The bundled application as payload. What is costly to import is imported where it is used."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from panda_node.config import Settings
from panda_node.db.version import BUNDLED, Requirement
from panda_node.errors import ConfigurationError


def prepare(settings: Settings) -> None:
    """Loads the application, and refuses plugins that are not there.

    Only the daemon uses plugins, but a node that lacks one shall not look well.
    """
    from panda_node import web
    from panda_node.log_files import open_logs
    from panda_node.work.plugins import Plugins

    open_logs(settings.log_directory, settings.log_level, *web.LOGS)
    Plugins(settings)


def create_application(settings: Settings) -> Any:
    """The application of one worker."""
    from panda_node import web

    return web.create_application(settings)


def requirement(_: Settings) -> Requirement:
    """The schema of its own migrations."""
    return BUNDLED


def configuration_faults(
    settings: Settings, _directories: Sequence[Path], _overlay: Path | None, _environ: Mapping[str, str]
) -> list[str]:
    """Plugins that cannot be loaded."""
    from panda_node.work.plugins import Plugins

    try:
        Plugins(settings)
    except ConfigurationError as error:
        return error.faults
    return []


def burn_in(settings: Settings, path: Path, wait: float) -> list[str]:
    """Brings a job through."""
    from panda_node import burn_in as brought

    return brought.run(settings, path, wait)


def end_worker() -> None:
    """Nothing: its connections end with it."""


def run_daemon(settings: Settings) -> None:
    """The bundled scheduler."""
    from panda_node.daemon.scheduler import Scheduler

    Scheduler(settings).run()


def run_service(name: str) -> None:
    """There is none."""
    raise ConfigurationError([f"{name}: the bundled application has none; it is part of the payload panda-server"])
