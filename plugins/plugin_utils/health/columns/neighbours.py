"""Tell what is wrong between a node and the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils.health import questions
from ansible_collections.panda.provision.plugins.plugin_utils.health.model import Fault, site


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
