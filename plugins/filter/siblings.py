"""Filter `panda.provision.siblings`: the other hosts of a group with their addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils.addresses import with_addresses

DOCUMENTATION = r"""
name: siblings
short_description: The other hosts of a group with their addresses
description:
  - Needs no fact of another host, so that it works when a play is limited to one.
  - Names are resolved on the control machine, so that a node needs no name service to start.
positional: hostvars, name
options:
  _input:
    description: Hosts of the group.
    type: list
    elements: str
    required: true
  hostvars:
    description: C(hostvars), for the C(ansible_host) of each.
    type: dict
    required: true
  name:
    description: C(inventory_hostname) of the host that has the siblings.
    type: str
    required: true
"""

EXAMPLES = r"""
siblings: "{{ groups['panda_servers'] | panda.provision.siblings(hostvars, inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: A C(name) and a list of C(addresses) for each host; empty for a host outside the group.
  type: list
  elements: dict
"""


def siblings(hosts: Iterable[str], hostvars: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The hosts besides `name`, in the order of the group; none where `name` is not one of them."""
    group = list(hosts)
    return with_addresses([host for host in group if host != name], hostvars) if name in group else []


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name to function."""
        return {"siblings": siblings}
