"""Tell what is wrong between a node and the others: the caches beside it, the balancers in front of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.panda.provision.plugins.module_utils.haproxy import BACKENDS
from ansible_collections.panda.provision.plugins.plugin_utils.health import questions
from ansible_collections.panda.provision.plugins.plugin_utils.health.columns.application import ready
from ansible_collections.panda.provision.plugins.plugin_utils.health.model import NOT_SEEN, Fault, site

Balancers = Mapping[str, Mapping[str, Mapping[str, str]]]
"""Balancer to node to backend to what haproxy says of the node there."""


def siblings(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> tuple[str, list[Fault]]:
    """squid knows the siblings that the inventory says, no others, and they answer."""
    name, conf = wanted["name"], questions.SQUID_CONF
    known = {peer["name"]: peer["address"] for peer in seen["peers"]}
    answering = 0
    faults = []
    for host, address in wanted["siblings"].items():
        said = seen["siblings"].get(known.get(host, address), {})
        if host not in known:
            what = f"is a sibling by the inventory and not in {conf}"
            faults.append(Fault("squid", host, what, site(name), (conf, questions.SQUID_POLICY)))
        elif said.get("icp") == "denied":
            what = "refuses what this node asks: its own squid does not know this node as a sibling"
            faults.append(Fault("squid", host, what, site(host)))
        elif said.get("icp") != "answers" or said.get("http"):
            port = f"{wanted['squid_icp_port']}/udp" if said.get("icp") != "answers" else f"{wanted['squid_port']}/tcp"
            what = f"is dead as a sibling: no answer on {port} of {known[host]} {said.get('http', '')}".rstrip()
            remedy = f"on {host}: systemctl status squid; between the nodes: is port {port} open?"
            faults.append(Fault("squid", host, what, remedy))
        else:
            answering += 1
    faults += [
        Fault(
            "squid",
            host,
            f"is in {conf} as a sibling and is none by the inventory",
            site(name),
            (conf, questions.SQUID_POLICY),
        )
        for host in known
        if host not in wanted["siblings"]
    ]
    return f"{answering}/{len(wanted['siblings'])}", faults


def balancers(
    wanted: Mapping[str, Any], seen: Mapping[str, Any], outside: Mapping[str, str], known: Balancers
) -> tuple[str, list[Fault]]:
    """Every balancer sends requests to the node. That one which is not ready gets none is right."""
    name = wanted["name"]
    sending = 0
    faults = []
    for balancer, nodes in known.items():
        states = nodes.get(name, {})
        without = [backend for backend in BACKENDS if backend not in states]
        # One that has just become ready is on its way up.
        out = {backend: said for backend, said in states.items() if not re.match(r"UP|DOWN \d+/\d+", said)}
        sending += not without and all(said.startswith("UP") for said in states.values())
        # A port that is shut is named by itself.
        if not ready(wanted, seen) or outside.get(str(wanted["panda_server_port"])):
            continue
        if without:
            what = f"does not know this node ({', '.join(without)}), which gets no requests from there"
            faults.append(Fault("lb", balancer, what, site(balancer)))
        elif out:
            said = ", ".join(f"{state} in {backend}" for backend, state in out.items())
            what = f"sends this node no requests, though it is ready: {said}"
            remedy = f"on {balancer}: curl -i http://{wanted['address']}:{wanted['panda_server_port']}/node/ready"
            if any(state.startswith(("MAINT", "DRAIN")) for state in out.values()):
                remedy = f"set by hand there; on {balancer}: systemctl reload haproxy, which asks the nodes anew"
            faults.append(Fault("lb", balancer, what, remedy))
    return f"{sending}/{len(known)}" if known else NOT_SEEN, faults


def strangers(findings: Mapping[str, Mapping[str, Any]], known: Balancers) -> list[str]:
    """What balancers have besides the nodes of the fleet, which every node that is in service knows."""
    expected = [found["expected"] for found in findings.values() if found.get("expected")]
    fleet = {host for wanted in expected if not wanted["offboarded"] for host in (wanted["name"], *wanted["siblings"])}
    return [
        f"{balancer} sends requests to {', '.join(sorted(set(nodes) - fleet))} too, which is no node in service by the "
        f"inventory: {site(balancer)}"
        for balancer, nodes in known.items()
        if fleet and set(nodes) - fleet
    ]
