"""Setuppers and adders: a site's own steps before jobs are made, and after pilots are done.

`[server] setupper_plugins` and `adder_plugins` hold `vo:module:Class`, separated by commas; the vo `local`, or `any`,
stands for every other. A plugin that cannot be loaded is a fault of the configuration: nothing starts without it.
"""

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Row

from panda_node import untrusted
from panda_node.config import Settings
from panda_node.config_files import SERVER_FILE
from panda_node.errors import ConfigurationError

ANY = ("any", "local")


class Setupper(Protocol):
    """Looks at a task before its jobs are made."""

    def prepare(self, parameters: dict[str, Any]) -> None:
        """May change the parameters, say by the files of a data set; raises RefusalError to end the task as broken."""


class Adder(Protocol):
    """Looks at a job that its pilot called finished."""

    def check(self, job: Row[Any], files: Sequence[Row[Any]], report: dict[str, Any]) -> str:
        """Why the job has failed after all; empty if it has not. `report` is the pilot's, by file name."""


class LeaveAsIs:
    """The setupper that is used where none is configured."""

    def prepare(self, parameters: dict[str, Any]) -> None:
        """Changes nothing."""


class CheckReport:
    """The adder that is used where none is configured: the pilot must have reported every output."""

    def check(self, job: Row[Any], files: Sequence[Row[Any]], report: dict[str, Any]) -> str:
        """Every output and log needs a GUID, a size and a checksum."""
        for file in files:
            if file.type in ("output", "log"):
                entry = report.get(file.lfn)
                if not isinstance(entry, dict) or not entry.get("guid") or "fsize" not in entry:
                    return "Could not get GUID/LFN/MD5/FSIZE/SURL from pilot JSON"
                if not (entry.get("adler32") or entry.get("md5sum")):
                    return "Could not get GUID/LFN/MD5/FSIZE/SURL from pilot JSON"
        return ""


class Plugins:
    """The plugins of this configuration."""

    def __init__(self, settings: Settings) -> None:
        faults: list[str] = []
        self._setuppers = _load("setupper_plugins", settings.setupper_plugins, "prepare", faults)
        self._adders = _load("adder_plugins", settings.adder_plugins, "check", faults)
        if faults:
            raise ConfigurationError(faults)

    def setupper(self, vo: str) -> Setupper:
        """The setupper of an organisation."""
        found: Setupper = _choose(self._setuppers, vo) or LeaveAsIs()
        return found

    def adder(self, vo: str) -> Adder:
        """The adder of an organisation."""
        found: Adder = _choose(self._adders, vo) or CheckReport()
        return found


def _choose(plugins: dict[str, Any], vo: str) -> Any:
    return next((plugins[name] for name in (vo, *ANY) if name in plugins), None)


def _load(key: str, entries: Sequence[str], function: str, faults: list[str]) -> dict[str, Any]:
    plugins = {}
    for entry in entries:
        where = f"{SERVER_FILE}: [server] {key}: {entry}"
        try:
            vo, module, name = entry.split(":")
            plugin = getattr(importlib.import_module(module), name)()
        except ValueError:
            faults.append(f"{where}: must be vo:module:Class")
        except Exception as error:
            faults.append(f"{where}: cannot be loaded: {error!r}; install or correct it, or take it out of the list")
        else:
            if not callable(getattr(plugin, function, None)):
                faults.append(f"{where}: has no method {function}()")
            plugins[vo] = plugin
    return plugins


def read_report(text: str | None) -> dict[str, Any]:
    """A pilot's job_output_report, by file name; empty if it cannot be read, or stored."""
    try:
        content = untrusted.read_json(text or "{}")
        untrusted.check(content)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
