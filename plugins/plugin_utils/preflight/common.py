"""Checks that more than one role makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SUPPORTED = "EL9 (AlmaLinux, Rocky, RHEL) or Debian 12, on x86_64"


def system(node: Mapping[str, Any]) -> list[str]:
    """Whether the node runs an operating system that the roles know."""
    release = node["os"]
    family = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    major = release.get("VERSION_ID", "").split(".")[0]
    faults = []
    if not (("rhel" in family and major == "9") or (release.get("ID") == "debian" and major == "12")):
        faults.append(f"{release.get('PRETTY_NAME', 'this operating system')} is not supported: use {SUPPORTED}")
    if node["machine"] != "x86_64":
        faults.append(f"{node['machine']} is not supported: use {SUPPORTED}")
    if not node["systemd"]:
        faults.append("systemd does not run here: the services are systemd units; boot the host with it")
    return faults


def port_free(node: Mapping[str, Any], port: int, units: set[str], variable: str, protocol: str = "tcp") -> list[str]:
    """Whether a port is free or held by one of our own units."""
    return [
        f"port {port}/{protocol} ({variable}) is taken by {listener['process']} (process {listener['pid']}, "
        f"{listener['unit'] or 'no unit'}): stop it or choose another port"
        for listener in node["listeners"]
        if (listener["protocol"], listener["port"]) == (protocol, port) and listener["unit"] not in units
    ]
