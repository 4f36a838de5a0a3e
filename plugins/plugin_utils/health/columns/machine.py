"""Tell what is wrong with the machine under a node: its clock and its disks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils.health.model import NOT_SEEN, Fault, Limits


def clock(wanted: Mapping[str, Any], seen: Mapping[str, Any], limits: Limits) -> tuple[str, list[Fault]]:
    """The node's clock agrees with the control machine's, and something keeps it right.

    What the way there and back took bounds what can be said, so only what is beyond that bound counts.
    """
    offset, bound = offset_of(seen)
    name = wanted["name"]
    faults = []
    if abs(offset) - bound > limits.clock_seconds:
        what = f"is {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} the control machine's"
        remedy = (
            f"on {name}: timedatectl; chronyc makestep. If the other nodes are off too, it is the control machine's"
        )
        faults.append(Fault("clock", "clock", what, remedy))
    # A container's clock is its host's.
    if limits.ntp and not seen["container"] and seen["ntp"] == "no":
        faults.append(
            Fault("clock", "NTP", "does not keep the clock right", f"on {name}: systemctl enable --now chronyd")
        )
    return f"{0.0 if abs(offset) <= bound else offset:+.1f} s", faults


def offset_of(seen: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds that the node's clock is ahead of the control machine's, and how far that may be wrong."""
    there, back = seen["begun"] - seen["sent"], seen["ended"] - seen["received"]
    return (there + back) / 2, abs(there - back) / 2


def disk(wanted: Mapping[str, Any], seen: Mapping[str, Any], limits: Limits) -> tuple[str, list[Fault]]:
    """The file systems that fill up have room."""
    faults = []
    for path, measured in seen["disks"].items():
        for kind, share in (("full", measured["used_percent"]), ("out of inodes", measured["files_percent"])):
            if share >= limits.disk_percent:
                what = f"its file system is {share} % {kind}" if kind == "full" else f"its inodes are {share} % used"
                room = f", {measured['free_bytes'] / 1e6:,.0f} MB left" if kind == "full" else ""
                faults.append(
                    Fault(
                        "disk", path, what + room, f"on {wanted['name']}: du -xh --max-depth=2 {path} | sort -h | tail"
                    )
                )
    worst = max((measured["used_percent"] for measured in seen["disks"].values()), default=None)
    return (NOT_SEEN if worst is None else f"{worst} %"), same_file_system(faults, seen)


def same_file_system(faults: Iterable[Fault], seen: Mapping[str, Any]) -> list[Fault]:
    """One fault for folders of one file system."""
    found: dict[tuple[Any, ...], Fault] = {}
    for fault in faults:
        measured = seen["disks"][fault.thing]
        key = (fault.what, measured.get("device"))
        found.setdefault(key, fault)
    return list(found.values())
