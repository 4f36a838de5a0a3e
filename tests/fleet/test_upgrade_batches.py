"""A roll of several nodes at a time, in a fleet of four, so that one is left that the roll has not begun with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import NEWCOMER, NODES, Fleet, Releases
from .test_load_balancer import ready
from .test_onboarding import OFFBOARD, ONBOARD, enter
from .test_upgrade import lost_nothing

FOUR = [*NODES, NEWCOMER]


@pytest.fixture
def before(fleet: Fleet, tmp_path: Path) -> Iterator[str]:
    """The release that all four are on."""
    enter(fleet, tmp_path, "panda_servers")
    try:
        fleet.play(ONBOARD, "-e", f"node={NEWCOMER}")
        (release,) = set(fleet.releases(*FOUR).values())
        yield release
        fleet.play("playbooks/rollback.yml", "-e", f"release={release}", "-e", "batch=2")
    finally:
        fleet.play(OFFBOARD, "-e", f"node={NEWCOMER}")
        del fleet.inventory[1:]


def test_a_release_whose_gate_fails_on_one_of_two_halts_before_the_next_two(
    fleet: Fleet, releases: Releases, before: str, say: Callable[[str], None]
) -> None:
    archive = f"panda_server_wheelhouse={releases.bad.archive}"
    with fleet.load() as load:
        run = fleet.play(
            "playbooks/upgrade.yml",
            # It may have failed there before, one node at a time.
            *("-e", archive, "-e", "batch=2", "-e", "retry_bad=true", "-e", "panda_server_verify_timeout=15"),
            expect=None,
        )
    lost_nothing(load, run, say, f"a release that fails its gate on {NODES[1]}, two nodes at a time")
    assert run.code == 2
    assert run.said(f"failed on {NODES[1]}, which is back in service on {before}")
    assert run.said(f"{NEWCOMER} was not touched, because the upgrade failed on {NODES[1]}")
    # The first goes alone; the third is the neighbour of the one that failed, and healthy.
    assert fleet.releases(*FOUR) == {
        NODES[0]: releases.bad.name, NODES[1]: before, NODES[2]: releases.bad.name, NEWCOMER: before,
    }  # fmt: skip
    assert [list(fleet.record(node)["bad"]) for node in FOUR] == [[], [releases.bad.name], [], []]
    assert {name: ready(fleet, name) for name in FOUR} == {name: {True} for name in FOUR}
