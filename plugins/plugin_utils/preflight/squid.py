"""What must be true before the role squid changes a node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils import addresses
from ansible_collections.panda.provision.plugins.plugin_utils.preflight import common

UNITS = {"squid.service"}
# Paths of httpd that a cache has no business with, and why.
NEVER_CACHED = {
    "/auth/": "holds what only httpd may give out",
    "/server/": "is the application",
    "/api/": "is the application",
    "/node/": "tells the state of this moment",
}


def look(variables: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What the judgement below, and the role, have to know of the node."""
    return {"units": [*sorted(UNITS), "firewalld.service"]}


def faults(
    variables: Mapping[str, Any], node: Mapping[str, Any], resolve: common.Resolve = addresses.resolve
) -> list[str]:
    """Everything that has to be mended first."""
    siblings = sibling_hosts(variables)
    found = [
        *common.port_free(node, variables["squid_port"], UNITS, "squid_port"),
        *value_faults(variables),
        *path_faults(variables["squid_paths"]),
        *sibling_faults(variables, siblings, resolve),
    ]
    if siblings:
        found += common.port_free(node, variables["squid_icp_port"], UNITS, "squid_icp_port", "udp")
    return found


def sibling_hosts(variables: Mapping[str, Any]) -> list[str]:
    """The other hosts in service of the group that this host is in."""
    group = common.in_service(variables, "squid_peer_group", "squid_offboarded_group")
    name = variables["inventory_hostname"]
    return [host for host in group if host != name] if name in group else []


def value_faults(variables: Mapping[str, Any]) -> list[str]:
    """Numbers and names that squid would take and that would not work."""
    found = []
    if variables["squid_port"] == variables["squid_origin_port"]:
        found.append(f"squid_port, squid_origin_port: are both {variables['squid_port']}; squid would ask itself")
    for variable in ("squid_port", "squid_origin_port", "squid_icp_port"):
        if not 0 < variables[variable] < 65536:
            found.append(f"{variable}: {variables[variable]} is not a port number")
    for variable in ("squid_icp_query_timeout", "squid_cache_mem", "squid_object_max"):
        if variables[variable] < 1:
            found.append(f"{variable}: is {variables[variable]}, and has to be at least 1")
    if variables["squid_cache_disk"] < 0:
        found.append(f"squid_cache_disk: is {variables['squid_cache_disk']}; use 0 for no cache on disk")
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", variables["squid_site"]):
        found.append(f"squid_site: '{variables['squid_site']}' is not a host name")
    if not re.fullmatch(r"/[^\s#\"']*", variables["squid_cache_directory"]):
        found.append(
            f"squid_cache_directory: '{variables['squid_cache_directory']}' is not an absolute path without blanks"
        )
    return found


def path_faults(paths: list[str]) -> list[str]:
    """Paths that would let more through than files that may be cached."""
    if not paths:
        return ["squid_paths: is empty, and squid would refuse everything; name at least one path"]
    found = []
    for path in paths:
        if not re.fullmatch(r"/((?!\.\.?/)[A-Za-z0-9._~-]+/)+", path):
            found.append(f"squid_paths: '{path}' is not a path that starts and ends with a slash, as in /cache/")
            continue
        for never, reason in NEVER_CACHED.items():
            if path.startswith(never):
                found.append(f"squid_paths: '{path}' may not be cached: {never} {reason}")
    return found


def sibling_faults(variables: Mapping[str, Any], siblings: list[str], resolve: common.Resolve) -> list[str]:
    """Siblings without an address, or with this host's own."""
    group, name = variables["squid_peer_group"], variables["inventory_hostname"]
    if group not in variables["groups"]:
        return [f"squid_peer_group: '{group}' is not a group of the inventory"]
    found = []
    own = set(resolve(variables["addresses"][name])) if siblings else set()
    for host in siblings:
        found += common.address_fault(variables, host, f"a sibling (squid_peer_group: {group})", resolve)
        if shared := own & set(resolve(variables["addresses"][host])):
            found.append(
                f"{host}: is a sibling (squid_peer_group: {group}) with the address of {name} itself, "
                f"{', '.join(sorted(shared))}; a node must not ask itself: correct one ansible_host"
            )
    return found
