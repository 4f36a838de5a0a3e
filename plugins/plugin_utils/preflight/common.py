"""Checks that more than one role makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Resolve = Callable[[str], list[str]]

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


def in_service(variables: Mapping[str, Any], group: str, offboarded: str) -> list[str]:
    """The hosts of a group without those that were offboarded; `group` and `offboarded` name variables."""
    groups = variables["groups"]
    out = groups.get(variables[offboarded], [])
    return [host for host in groups.get(variables[group], []) if host not in out]


def address_fault(variables: Mapping[str, Any], host: str, role: str, resolve: Resolve) -> list[str]:
    """The fault of a host that the control machine cannot find. `role` says what it is to this host."""
    address = variables["addresses"][host]
    if resolve(address):
        return []
    return [
        f"{host}: is {role}, and the control machine finds no address of '{address}'; correct its ansible_host or "
        "its name service entry, or take it out of the group"
    ]
