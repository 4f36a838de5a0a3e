"""Addresses of hosts, as the control machine knows them."""

from __future__ import annotations

import socket


def resolve(name: str) -> list[str]:
    """Every address of a host name, IPv4 first, in an order that does not change; none where it is unknown."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(address[0]) for *_, address in found}, key=lambda address: (":" in address, address))
