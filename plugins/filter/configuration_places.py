"""Where a node that was set up by other means has its configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils import adoption

DOCUMENTATION = r"""
name: configuration_places
short_description: Where a node has its PanDA configuration
description: Names the files that the package would read there, by what the node's files of the environment say.
positional: names, prefix, home
options:
  _input:
    description: What M(ansible.builtin.slurp) answered in a loop over paths.
    type: list
    elements: dict
    required: true
  names: {description: Names of cfg files., type: list, elements: str, required: true}
  prefix: {description: The virtual environment., type: str, required: true}
  home: {description: PANDA_HOME of the services where no file says it., type: str, required: true}
author: panda-provision
"""

EXAMPLES = r"""
places: "{{ read.results | panda.provision.configuration_places(['panda_server.cfg'], '/opt/panda', '/data/atlpan') }}"
"""

RETURN = r"""
_value: {description: Paths of the cfg files and of the overlay., type: list, elements: str}
"""


def configuration_places(results: list[dict[str, Any]], names: list[str], prefix: str, home: str) -> list[str]:
    """The files that may hold some of the configuration."""
    return adoption.Found(adoption.slurped(results), prefix, home).places(names)


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name to function."""
        return {"configuration_places": configuration_places}
