"""Everything that can be said against a configuration without starting anything."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from panda_node import config, oidc, payload
from panda_node.config import DaemonSettings, Settings
from panda_node.config_files import SERVER_FILE


def faults(directories: Sequence[Path], overlay: Path | None, environ: Mapping[str, str]) -> list[str]:
    """Returns every fault, each naming its file, its key and what to do."""
    settings, found = config.examine(directories, overlay, environ)
    found += _auth_faults(settings) + _daemon_faults(settings.daemon)
    return found + payload.of(settings.payload).configuration_faults(settings, directories, overlay, environ)


def _auth_faults(settings: Settings) -> list[str]:
    directory = settings.auth_directory
    if directory is None or not directory.is_dir():
        if settings.authentication == "oidc":
            where = directory or "(not set)"
            return [f"[server] auth_config: {where} is no directory, but token_authType is oidc; create it or use x509"]
        return []
    _, bad = oidc.read_organisations(directory)
    return [f"{fault}; without it that organisation has no token login" for fault in bad.values()]


def _daemon_faults(daemon: DaemonSettings) -> list[str]:
    found = []
    for job in daemon.jobs if daemon.enable else ():
        try:
            spec = find_spec(job.module)
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            found.append(
                f"{SERVER_FILE}: [daemon] config: job {job.name}: there is no module {job.module}; "
                "correct package, the job's name or its module, or set enable to false"
            )
    return found
