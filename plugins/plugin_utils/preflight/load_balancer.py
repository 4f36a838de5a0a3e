"""What must be true before the role load_balancer changes a host."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils import addresses
from ansible_collections.panda.provision.plugins.plugin_utils.preflight import common

UNITS = {"haproxy.service"}
PORTS = ("load_balancer_port", "load_balancer_port_ssl", "load_balancer_port_cache", "load_balancer_status_port")
# Numbers with the least that makes sense.
AT_LEAST = {
    "load_balancer_check_interval": 1,
    "load_balancer_check_timeout": 1,
    "load_balancer_check_fall": 1,
    "load_balancer_check_rise": 1,
    "load_balancer_request_timeout": 1,
    "load_balancer_connect_timeout": 1,
    "load_balancer_retries": 1,
    "load_balancer_header_timeout": 1,
    "load_balancer_keepalive_timeout": 1,
    "load_balancer_reload_timeout": 1,
    "load_balancer_max_connections": 100,
}


def look(variables: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What the judgement below, and the role, have to know of the host."""
    packages = ["firewalld"] if variables["load_balancer_firewall_manage"] else []
    return {"units": [*sorted(UNITS), "firewalld.service"], "packages": packages}


def faults(
    variables: Mapping[str, Any], node: Mapping[str, Any], resolve: common.Resolve = addresses.resolve
) -> list[str]:
    """Everything that has to be mended first."""
    return [
        *common.system(node),
        *[fault for name in PORTS for fault in common.port_free(node, variables[name], UNITS, name)],
        *value_faults(variables),
        *address_faults(variables),
        *node_faults(variables, resolve),
    ]


def value_faults(variables: Mapping[str, Any]) -> list[str]:
    """Numbers that haproxy would take and that would not work."""
    found = [
        f"{name}: is {variables[name]}, and has to be at least {least}"
        for name, least in AT_LEAST.items()
        if variables[name] < least
    ]
    taken: dict[int, str] = {}
    for name in PORTS:
        port = variables[name]
        if not 0 < port < 65536:
            found.append(f"{name}: {port} is not a port number")
        elif port in taken:
            found.append(f"{taken[port]}, {name}: are both {port}; each needs a port of its own")
        taken.setdefault(port, name)
    return found


def address_faults(variables: Mapping[str, Any]) -> list[str]:
    """Addresses that are none: names are not taken, for haproxy would ask the name service when it starts."""
    found = []
    if not variables["load_balancer_addresses"]:
        found.append("load_balancer_addresses: is empty, and nobody could ask the balancer; use '::' for every address")
    for address in variables["load_balancer_addresses"]:
        if address != "*" and not is_network(address, plain=True):
            found.append(f"load_balancer_addresses: '{address}' is neither an address nor '*'")
    found += [
        f"load_balancer_monitoring_clients: '{client}' is neither an address nor a network"
        for client in variables["load_balancer_monitoring_clients"]
        if not is_network(client)
    ]
    return found


def is_network(text: str, *, plain: bool = False) -> bool:
    """Whether a text is an address or, unless `plain`, a network."""
    try:
        ipaddress.ip_address(text) if plain else ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def node_faults(variables: Mapping[str, Any], resolve: common.Resolve) -> list[str]:
    """Nodes that requests could not be sent to."""
    group = variables["load_balancer_node_group"]
    if group not in variables["groups"]:
        return [f"load_balancer_node_group: '{group}' is not a group of the inventory"]
    nodes = common.in_service(variables, "load_balancer_node_group", "load_balancer_offboarded_group")
    if not nodes:
        return [f"load_balancer_node_group: '{group}' has no host in service, and every request would be refused"]
    found = []
    for host in nodes:
        if not re.fullmatch(r"[A-Za-z0-9_.:-]+", host):
            found.append(f"{host}: is no name that haproxy takes for a server; rename the host in the inventory")
        role = f"a node to send requests to (load_balancer_node_group: {group})"
        found += common.address_fault(variables, host, role, resolve)
    return found
