"""What provisioning would change in the configuration of a node that was set up by other means.

Compared is what is in force: the package reads a cfg file in several folders, of which the last counts, and then the
overlay over it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils import parameters

Sections = dict[str, dict[str, str]]

SYSTEMD, SYSV = "/etc/sysconfig/panda_server_env", "/etc/sysconfig/panda_server"
"""The environment of the package's units, and of its SysV scripts."""
SERVER = "panda_server.cfg"
OVERLAID = ("server", "daemon", "mcp")
"""Sections in which the package lets the overlay stand over panda_server.cfg."""


class Found:
    """The configuration of a node, in texts by their paths."""

    def __init__(self, texts: Mapping[str, str], prefix: str, home: str) -> None:
        self.texts = texts
        self.environment = parameters.read_environment(texts.get(SYSTEMD) or texts.get(SYSV, ""))
        panda_home = self.environment.get("PANDA_HOME", home)
        if SYSTEMD not in texts and SYSV in texts:
            # There it is the virtual environment, by a condition that only a shell can read.
            panda_home = self.environment["PANDA_HOME"] = prefix
        folders = ["/etc/panda", "/usr/etc/panda", f"{panda_home}/etc/panda", f"{panda_home}/usr/etc/panda"]
        if self.environment.get("HOME", "").startswith("/"):
            folders.insert(2, f"{self.environment['HOME']}/etc/panda")
        self.folders = list(dict.fromkeys(folders))
        self.overlay = f"{panda_home}/etc/config_json/panda_server_config.json"

    def places(self, names: list[str]) -> list[str]:
        """The files that may hold some of it."""
        return [*(f"{folder}/{name}" for folder in self.folders for name in names), self.overlay]

    def sections(self, name: str) -> Sections:
        """What is in force of a cfg file; empty where there is none."""
        paths = [path for folder in self.folders if (path := f"{folder}/{name}") in self.texts]
        found = merged(*(read(path, self.texts[path]) for path in paths))
        if name == SERVER and self.overlay in self.texts:
            found = merged(found, overlaid(self.overlay, self.texts[self.overlay]))
        return found


def slurped(results: list[dict[str, Any]]) -> dict[str, str]:
    """The texts of files by their paths, from what ansible.builtin.slurp answers in a loop; without those not there."""
    return {
        result["item"]: base64.b64decode(result["content"]).decode(errors="replace")
        for result in results
        if "content" in result
    }


def differences(found: Found, new: Mapping[str, Any]) -> list[str]:
    """A line for each parameter and variable that would change.

    `new` is what provisioning would write: the texts of `files` by their names, that of the `overlay`, the variables
    of the `environment`, and the names of the `secrets`.
    """
    lines = []
    for name, text in new["files"].items():
        now = found.sections(name)
        if not now:
            lines.append(f"{name}: there is none in {', '.join(found.folders)}: nothing to compare with")
            continue
        then = read(f"the new {name}", text)
        if name == SERVER:
            then = merged(then, overlaid("panda_server_overlay", new["overlay"]))
        for section in sorted({*now, *then}):
            one = {section: now.get(section, {})}, {section: then.get(section, {})}
            lines += [f"{name} {line}" for line in parameters.differences(*one, kept_in(name, section))]
    if not found.environment:
        return [*lines, f"environment: there is no {SYSTEMD} and no {SYSV}: nothing to compare with"]
    known = {name: value for name, value in found.environment.items() if name not in new["secrets"]}
    new_environment = {"environment": {name: str(value) for name, value in new["environment"].items()}}
    return lines + parameters.differences({"environment": known}, new_environment, "panda_server_environment")


def kept_in(name: str, section: str) -> str:
    """The variable that keeps a parameter which the role does not write by itself; empty where none does."""
    if name == SERVER:
        return "panda_server_config" if section == "server" else "panda_server_overlay"
    return "panda_server_jedi_config" if name == "panda_jedi.cfg" else ""


def read(path: str, text: str) -> Sections:
    """The parameters of a cfg file."""
    try:
        sections = parameters.read_cfg(text)
    except parameters.ParametersError as error:
        raise parameters.ParametersError(f"{path} {error}") from None
    return {section: {name: plain(value) for name, value in given.items()} for section, given in sections.items()}


def overlaid(path: str, text: str) -> Sections:
    """The parameters of an overlay that the package takes from it."""
    try:
        sections = parameters.read_json(text)
    except parameters.ParametersError as error:
        raise parameters.ParametersError(f"{path} {error}") from None
    return {
        section: {name: plain(value) for name, value in given.items()}
        for section, given in sections.items()
        if section in OVERLAID
    }


def merged(*files: Sections) -> Sections:
    """Several files, the later over the earlier."""
    found: Sections = {}
    for sections in files:
        for section, given in sections.items():
            found[section] = {**found.get(section, {}), **given}
    return found


def plain(value: Any) -> str:
    """A value as text; JSON without what makes no difference in it, its blanks and its order."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith(("{", "[")) else value
        except ValueError:
            return str(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
