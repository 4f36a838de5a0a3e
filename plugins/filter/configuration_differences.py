"""What the configuration of a node that was set up by other means would change to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.panda.provision.plugins.plugin_utils import adoption, parameters

DOCUMENTATION = r"""
name: configuration_differences
short_description: What a node's PanDA configuration would change to
description: Compares what is in force with what would be written, parameter by parameter; secrets are not shown.
positional: new, prefix, home
options:
  _input:
    description: What M(ansible.builtin.slurp) answered in a loop over paths.
    type: list
    elements: dict
    required: true
  new:
    description: Texts of C(files) by their names, the C(overlay), the C(environment), and the names of the C(secrets).
    type: dict
    required: true
  prefix: {description: The virtual environment., type: str, required: true}
  home: {description: PANDA_HOME of the services where no file says it., type: str, required: true}
author: panda-provision
"""

EXAMPLES = r"""
differences: "{{ read.results | panda.provision.configuration_differences(new, '/opt/panda', '/data/atlpan') }}"
"""

RETURN = r"""
_value: {description: A line for each parameter and variable that differs., type: list, elements: str}
"""


def configuration_differences(
    results: list[dict[str, Any]], new: Mapping[str, Any], prefix: str, home: str
) -> list[str]:
    """A line for each parameter that differs."""
    try:
        return adoption.differences(adoption.Found(adoption.slurped(results), prefix, home), new)
    except parameters.ParametersError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name to function."""
        return {"configuration_differences": configuration_differences}
