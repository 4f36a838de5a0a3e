"""Filter `panda.provision.with_addresses`: hosts with their addresses."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.panda.provision.plugins.plugin_utils.addresses import with_addresses

DOCUMENTATION = r"""
name: with_addresses
short_description: Hosts with their addresses
description:
  - Needs no fact of another host, so that it works when a play is limited to one.
  - Names are resolved on the control machine, so that a node needs no name service to start.
positional: hostvars
options:
  _input:
    description: Hosts of the inventory.
    type: list
    elements: str
    required: true
  hostvars:
    description: C(hostvars), for the C(ansible_host) of each.
    type: dict
    required: true
"""

EXAMPLES = r"""
backends: "{{ groups['panda_servers'] | panda.provision.with_addresses(hostvars) }}"
"""

RETURN = r"""
_value:
  description: A C(name) and a list of C(addresses) for each host, in the order given.
  type: list
  elements: dict
"""


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Name to function."""
        return {"with_addresses": with_addresses}
