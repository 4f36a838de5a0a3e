"""Addresses of hosts, as the control machine knows them."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def resolve(name: str) -> list[str]:
    """Every address of a host name, IPv4 first, in an order that does not change; none where it is unknown."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(address[0]) for *_, address in found}, key=lambda address: (":" in address, address))


def with_addresses(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The name and the addresses of each host, in the order given, from the inventory alone."""
    found = []
    for host in hosts:
        address = str(hostvars[host].get("ansible_host", host))
        addresses = resolve(address)
        if not addresses:
            raise AnsibleFilterError(f"{host}: the control machine finds no address of '{address}'")
        found.append({"name": host, "addresses": addresses})
    return found
