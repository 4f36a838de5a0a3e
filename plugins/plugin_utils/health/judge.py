"""Judge a fleet from what was seen of its nodes, column by column. Plain functions: all they know is handed to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils.health import questions
from ansible_collections.panda.provision.plugins.plugin_utils.health.columns.application import (
    ready,
    release,
    running_release,
    schema,
    state,
)
from ansible_collections.panda.provision.plugins.plugin_utils.health.columns.certificate import (
    certificate,
    certificate_summary,
)
from ansible_collections.panda.provision.plugins.plugin_utils.health.columns.drift import drift
from ansible_collections.panda.provision.plugins.plugin_utils.health.columns.machine import clock, disk, offset_of
from ansible_collections.panda.provision.plugins.plugin_utils.health.columns.neighbours import (
    Balancers,
    balancers,
    siblings,
)
from ansible_collections.panda.provision.plugins.plugin_utils.health.columns.services import ports, units
from ansible_collections.panda.provision.plugins.plugin_utils.health.model import (
    COLUMNS,
    NOT_SEEN,
    Fault,
    Limits,
    Node,
    site,
)


def fleet(
    findings: Mapping[str, Mapping[str, Any]],
    changes: Mapping[str, list[dict[str, Any]]] | None,
    known: Balancers,
    limits: Limits,
) -> list[Node]:
    """Judge every node, then leave out what is only the consequence of a fault that is named already.

    `findings` is what node_report returned for each host, `changes` what site.yml would change on each; None where
    that was not looked at. `known` is what each balancer says of the nodes.
    """
    nodes = [
        node(name, found, None if changes is None else changes.get(name, []), known, limits)
        for name, found in findings.items()
    ]
    by_name = {judged.name: judged for judged in nodes}
    for judged in nodes:
        judged.faults = [fault for fault in judged.faults if not explained(fault, judged, by_name)]
    return nodes


def node(
    name: str, found: Mapping[str, Any], changes: list[dict[str, Any]] | None, known: Balancers, limits: Limits
) -> Node:
    """Judge one node."""
    wanted, seen = found.get("expected") or {}, found.get("seen") or {}
    judged = Node(name, wanted.get("address", name), dict.fromkeys(COLUMNS, NOT_SEEN))
    if found.get("trouble"):
        judged.cells["state"] = "unreachable" if "reached" in found["trouble"] else "unknown"
        judged.faults.append(
            Fault("state", name, found["trouble"], f"look yourself: ansible {name} -m ansible.builtin.ping -vvv")
        )
        return judged
    judged.changes = changes or []
    if bare(wanted, seen):
        judged.cells["state"] = "bare"
        judged.faults.append(
            Fault("state", name, "is not provisioned: it has neither a release nor panda.service", site(name))
        )
        return judged
    outside = found.get("outside") or {}
    judgements: dict[str, Callable[[], tuple[str, list[Fault]]]] = {
        "state": lambda: state(wanted, seen),
        "units": lambda: units(wanted, seen, limits),
        "ports": lambda: ports(wanted, seen, outside),
        "release": lambda: release(wanted, seen),
        "schema": lambda: schema(wanted, seen),
        "cert": lambda: certificate(wanted, seen, limits),
        "squid": lambda: siblings(wanted, seen),
        "lb": lambda: balancers(wanted, seen, outside, known),
        "clock": lambda: clock(wanted, seen, limits),
        "disk": lambda: disk(wanted, seen, limits),
    }
    for column, judgement in judgements.items():
        judged.cells[column], faults = judgement()
        judged.faults += faults
    if changes is not None:
        judged.cells["drift"], faults = drift(name, changes, judged.faults)
        judged.faults += faults
    judged.seen = summary(wanted, seen, outside, known)
    if wanted["offboarded"]:
        judged.notes.append("taken out of the fleet (group panda_offboarded): shown, not judged")
        judged.cells |= {"state": "offboarded", "drift": NOT_SEEN}
        judged.faults = []
    return judged


def bare(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    """Whether nobody has begun to provision this node."""
    unit = seen["units"].get("panda.service", {})
    return unit.get("load") != "loaded" and not seen["links"][wanted["panda_server_prefix"]]["there"]


def explained(fault: Fault, judged: Node, nodes: Mapping[str, Node]) -> bool:
    """Whether a fault is only the consequence of another one in the report."""
    others = [other for other in judged.faults if other is not fault]
    if fault.column == "squid" and fault.thing in nodes:
        # A sibling that is down, or does not know this node, says so in its own row.
        sick = nodes[fault.thing]
        reasons = {other.thing for other in sick.faults if other.column in ("units", "ports", "state", "squid")}
        if "refuses" in fault.what:
            return judged.name in reasons
        return "is dead" in fault.what and any(
            thing in ("squid.service", sick.name) or thing == fault_port(fault) for thing in reasons
        )
    database = any(other.column == "schema" for other in others)
    if fault.thing == "/node/ready":
        return database
    return fault.thing == "panda.service" and "DB schema check" in fault.what and database


def fault_port(fault: Fault) -> str:
    """The port that a dead sibling does not answer on, as its own row names it."""
    match = re.search(r"no answer on (\d+)/tcp", fault.what)
    return f"port {match.group(1)}" if match else ""


def summary(
    wanted: Mapping[str, Any], seen: Mapping[str, Any], outside: Mapping[str, str], known: Balancers
) -> dict[str, Any]:
    """What was seen of a node, for programs. Nothing secret: no text of a file but what stands here."""
    record = seen["records"].get(questions.record_of_releases(wanted)) or {}
    place = seen["links"][wanted["panda_server_prefix"]]
    offset, bound = offset_of(seen)
    return {
        "units": seen["units"],
        "ports": {
            port: {
                "unit": unit,
                "listener": next((found["unit"] for found in seen["listeners"] if str(found["port"]) == port), None),
                "from_control_machine": outside.get(port, "open") or "open" if outside else None,
            }
            for port, unit in wanted["ports"].items()
        },
        "release": {
            "active": place["target"].rpartition("/")[2] or None,
            "running": running_release(wanted, seen) or None,
            "last_good": record.get("last_good"),
            "good": record.get("good", []),
            "bad": record.get("bad", {}),
        },
        "state": {
            "node_state": seen["texts"].get(questions.STATE_FILE, "").strip() or None,
            "drained": seen["records"].get(questions.DRAIN_RECORD),
            "ready": ready(wanted, seen),
        },
        "schema": seen["schema"],
        "certificate": certificate_summary(wanted, seen),
        "squid": {
            "inventory": sorted(wanted["siblings"]),
            "configured": sorted(peer["name"] for peer in seen["peers"]),
            "asked": {peer["name"]: seen["siblings"].get(peer["address"], {}) for peer in seen["peers"]},
        },
        "balancers": {balancer: nodes.get(wanted["name"], {}) for balancer, nodes in known.items()},
        "clock": {
            "offset_seconds": round(offset, 3),
            "uncertainty_seconds": round(bound, 3),
            "ntp": seen["ntp"] or None,
            "container": seen["container"] or None,
        },
        "disk": seen["disks"],
    }
