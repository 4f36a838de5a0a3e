"""Tell what site.yml would change on a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils.health.model import Fault, site


def drift(name: str, changes: Sequence[Mapping[str, Any]], others: Sequence[Fault]) -> tuple[str, list[Fault]]:
    """What site.yml would change, which is nothing on a node that is as the inventory says.

    What it would mend of the other faults is theirs to tell.
    """
    changed = [change for change in changes if change["state"] == "changed" and not change["handler"]]
    follows = [change for change in changes if change["state"] == "changed" and change["handler"]]
    refused = [change for change in changes if change["state"] == "failed"]
    faults = []
    for change in refused:
        if not accounted(change, others):
            what = f"--check stops at '{change['task']}': {'; '.join(change['faults']) or change['message']}"
            faults.append(Fault("drift", "site.yml", what, f"mend that, then {site(name)}"))
    unexplained = [change for change in changed if not accounted(change, others)]
    if unexplained:
        what = f"would change {'; '.join(map(change_text, unexplained))}"
        if follows:
            what += f"; and then {'; '.join(map(change_text, follows))}"
        look = site(name, "--check --diff")
        remedy = f"look: {look}; then {site(name)}, or put into the inventory what is meant to stay"
        faults.append(Fault("drift", "site.yml", what, remedy))
    return "refused" if refused else str(len(changed)) if changed else "none", faults


def accounted(change: Mapping[str, Any], others: Sequence[Fault]) -> bool:
    """Whether what site.yml would change, or refuses, is named by other faults already."""
    named = {thing for other in others for thing in (other.thing, *other.explains)}
    if change["state"] == "failed":
        return bool(change["faults"]) and all(any(thing in text for thing in named) for text in change["faults"])
    if change["items"]:
        return set(change["items"]) <= named
    return not named.isdisjoint(change["tags"])


def change_text(change: Mapping[str, Any]) -> str:
    """A task that would change something, and what."""
    return f"'{change['task']}'" + (f" ({', '.join(change['items'])})" if change["items"] else "")
