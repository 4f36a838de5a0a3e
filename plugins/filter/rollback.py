"""Filter `panda.provision.rollback_release`: the release that a fleet goes back to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: rollback_release
short_description: The release that a fleet goes back to
description:
  - Every node goes back to the same release, or the filter fails and says why. A release that failed its gate is
    never chosen, nor one that a node does not have.
  - Without a name it is the release that last passed its gate before the one in use. Nodes that have gone back
    already stay there, so that an interrupted rollback can be repeated.
positional: named
options:
  _input:
    description:
      - Each host with C(current), the release in use, C(record), what the node knows of its releases, and
        C(installed), the names of those it has.
    type: dict
    required: true
  named:
    description: The release to go to; empty for the one before.
    type: str
    default: ""
"""

EXAMPLES = r"""
release: "{{ nodes | panda.provision.rollback_release }}"
"""

RETURN = r"""
_value:
  description: Name of the release.
  type: str
"""

Node = Mapping[str, Any]


def rollback_release(nodes: Mapping[str, Node], named: str = "") -> str:
    """The release that all of these nodes go to; AnsibleFilterError with every reason where there is none."""
    if named:
        faults = [fault for host, node in nodes.items() if (fault := refusal(host, node, named))]
        if faults:
            raise AnsibleFilterError("; ".join(faults))
        return named
    before = {host: previous(node) for host, node in nodes.items()}
    wanted = {release for host, release in before.items() if release and release != nodes[host]["current"]}
    if not wanted:
        # They have gone back already, or there is nothing to go back to.
        wanted = {release for release in before.values() if release}
    stuck = [host for host, release in before.items() if not release and nodes[host]["current"] not in wanted]
    if stuck:
        raise AnsibleFilterError(
            f"{', '.join(stuck)}: no release but {', '.join(sorted({nodes[host]['current'] for host in stuck}))} ever "
            "passed its gate there, so there is none to go back to"
        )
    if len(wanted) > 1:
        states = "; ".join(f"{host} on {nodes[host]['current']} would go to {before[host]}" for host in nodes)
        raise AnsibleFilterError(
            f"the nodes would go back to different releases: {states}. Name the one that is meant: -e release=NAME"
        )
    return wanted.pop()


def refusal(host: str, node: Node, release: str) -> str:
    """Why a node does not go to a release; an empty string where it does."""
    if release not in node["installed"]:
        return f"{host}: has no release {release}; it has {', '.join(sorted(node['installed'])) or 'none'}"
    if release in node["record"].get("bad", {}):
        return f"{host}: {release} failed its gate there: {node['record']['bad'][release]}"
    return ""


def previous(node: Node) -> str:
    """The release that a node goes back to; the current one where it has gone back already, else none."""
    record, current = node["record"], node["current"]
    if record.get("rolled_back", {}).get("to") == current:
        return str(current)
    good = [name for name in record["good"] if name != current and not refusal("", node, name)]
    return good[-1] if good else ""


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name to function."""
        return {"rollback_release": rollback_release}
