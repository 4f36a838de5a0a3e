"""What the health report is made of: nodes, their faults, and where a fault begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

COLUMNS = ("state", "units", "ports", "release", "schema", "cert", "squid", "lb", "clock", "disk", "drift")
NOT_SEEN = "-"


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a node, and what to do about it."""

    column: str
    thing: str
    what: str
    remedy: str
    explains: tuple[str, ...] = ()
    """Paths and units that site.yml would change because of it, or the tag of a task that does not say."""


@dataclass(frozen=True)
class Limits:
    """Where a fault begins."""

    certificate_days: int = 30
    clock_seconds: float = 2.0
    disk_percent: int = 90
    restarts: int = 3
    ntp: bool = True


@dataclass
class Node:
    """What is reported of a node: a text for each column, the faults, and what else was found."""

    name: str
    address: str
    cells: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def faulty(self) -> set[str]:
        """The columns that have a fault."""
        return {fault.column for fault in self.faults}


def site(name: str, *more: str) -> str:
    """The command that makes a node as it should be."""
    return " ".join(["ansible-playbook site.yml -l", name, *more])
