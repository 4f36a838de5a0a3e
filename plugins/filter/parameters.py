"""What a node's panda_server.cfg would change to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.panda.provision.plugins.plugin_utils import parameters

DOCUMENTATION = r"""
name: parameter_differences
short_description: What a node's PanDA configuration would change to
description: Compares two texts of a cfg file of PanDA parameter by parameter; secrets are not shown.
positional: _input, new
options:
  _input: {description: The text as it is., type: str, required: true}
  new: {description: The text as it would be., type: str, required: true}
author: panda-provision
"""

EXAMPLES = r"""
differences: "{{ slurped.content | b64decode | panda.provision.parameter_differences(rendered) }}"
"""

RETURN = r"""
_value: {description: A line for each parameter that differs., type: list, elements: str}
"""


def parameter_differences(old: str, new: str) -> list[str]:
    """A line for each parameter that differs."""
    try:
        return parameters.differences(parameters.read_cfg(old), parameters.read_cfg(new))
    except parameters.ParametersError as error:
        raise AnsibleFilterError(f"panda_server.cfg {error}") from error


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name to function."""
        return {"parameter_differences": parameter_differences}
