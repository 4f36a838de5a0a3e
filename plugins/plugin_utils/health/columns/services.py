"""Tell what is wrong with the units and the ports of a node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.panda.provision.plugins.module_utils.node import RUNNING
from ansible_collections.panda.provision.plugins.plugin_utils.health import questions
from ansible_collections.panda.provision.plugins.plugin_utils.health.model import NOT_SEEN, Fault, Limits, site

FLAPPING_SECONDS = 600
"""A unit that has run for longer than this does not flap, however often it was restarted before."""


def active(seen: Mapping[str, Any], unit: str) -> bool:
    """Whether a unit runs."""
    return seen["units"].get(unit, {}).get("active") in RUNNING


def units(wanted: Mapping[str, Any], seen: Mapping[str, Any], limits: Limits) -> tuple[str, list[Fault]]:
    """Units that run, come back after a reboot, and do not start again and again."""
    name = wanted["name"]
    if not seen["systemd"]:
        return NOT_SEEN, [Fault("units", "systemd", "does not run here", "boot the host with systemd")]
    faults: list[Fault] = []
    sound = 0
    parent = active(seen, "panda.service")
    for unit in wanted["units"]:
        is_like = seen["units"].get(unit, {})
        before = len(faults)
        if is_like.get("load") == "masked":
            faults.append(
                Fault("units", unit, "is masked: it cannot be started", f"on {name}: systemctl unmask {unit}")
            )
        elif is_like.get("load") != "loaded":
            faults.append(Fault("units", unit, "is not installed", site(name)))
        else:
            # Children stop with their parent: it is the one to mend.
            follows = unit.startswith("panda_") and not parent
            if is_like["active"] not in RUNNING and not follows:
                faults.append(Fault("units", unit, inactive(is_like), f"on {name}: {start(unit)}", (unit,)))
            elif flaps(is_like, limits):
                faults.append(
                    Fault(
                        "units", unit,
                        f"was restarted {is_like['restarts']} times, last {is_like['active_seconds']} s ago",
                        f"on {name}: journalctl -u {unit}",
                    )
                )  # fmt: skip
            if is_like["enabled"] != "enabled":
                what = f"is {is_like['enabled'] or 'not enabled'}: it would not come back after a reboot"
                faults.append(Fault("units", unit, what, f"on {name}: systemctl enable {unit}", (unit,)))
        sound += len(faults) == before and is_like.get("active") in RUNNING
    return f"{sound}/{len(wanted['units'])}", faults


def inactive(is_like: Mapping[str, Any]) -> str:
    """What a unit that is not active is."""
    said = f": {is_like['status']}" if is_like["status"] else ""
    if is_like["active"] == "activating":
        return f"does not come up ({is_like['restarts']} restarts){said}"
    # What a unit said last before it was stopped explains nothing.
    return f"is failed ({is_like['result']}){said}" if is_like["active"] == "failed" else f"is {is_like['active']}"


def start(unit: str) -> str:
    """How to start a unit, or to see why it does not."""
    return f"systemctl start {unit}; why it ended: journalctl -u {unit} -n 50"


def flaps(is_like: Mapping[str, Any], limits: Limits) -> bool:
    """Whether a unit was started anew several times, and a short while ago."""
    since = is_like["active_seconds"]
    return is_like["restarts"] >= limits.restarts and since is not None and since < FLAPPING_SECONDS


def ports(wanted: Mapping[str, Any], seen: Mapping[str, Any], outside: Mapping[str, str]) -> tuple[str, list[Fault]]:
    """Ports that the right unit holds and that the control machine reaches, and an application that answers."""
    name = wanted["name"]
    faults: list[Fault] = []
    open_ports = 0
    for port, unit in wanted["ports"].items():
        holder = next((found for found in seen["listeners"] if str(found["port"]) == port), None)
        reason = outside.get(port, "")
        if holder is None:
            # Where its unit does not run, that is the fault.
            if active(seen, unit):
                what = f"nobody listens, though {unit} is active"
                faults.append(Fault("ports", f"port {port}", what, f"on {name}: journalctl -u {unit} -n 50"))
        elif holder["unit"] not in ("", unit):
            what = f"is held by {holder['process']} (process {holder['pid']}, {holder['unit']}), not by {unit}"
            faults.append(Fault("ports", f"port {port}", what, f"on {name}: systemctl stop {holder['unit']}"))
        elif reason:
            what = f"{unit} listens, and the control machine does not get through: {reason}"
            remedy = (
                f"on {name}: firewall-cmd --reload, then firewall-cmd --info-policy={policy(unit)}; "
                "if the port is listed there, a firewall of the site is in the way"
            )
            faults.append(Fault("ports", f"port {port}", what, remedy))
        else:
            open_ports += 1
    url = questions.urls(wanted)["alive"]
    said = seen["answers"].get(url)
    if said and (said["status"] != 200 or "alive=yes" not in said["body"]):
        what = f"answers {said['status'] or 'nothing'}: {said['body'][:120].strip()}"
        faults.append(Fault("ports", url, what, f"on {name}: journalctl -u panda_wsgi -u panda_httpd -n 50"))
    return f"{open_ports}/{len(wanted['ports'])}", faults


def policy(unit: str) -> str:
    """The firewall policy that opens the ports of a unit."""
    return "panda-squid" if unit == "squid.service" else "panda-server"
