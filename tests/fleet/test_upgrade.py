"""A rolling upgrade and its way back: no request is lost, and a node that fails keeps the others as they are.

The statements follow one another: each begins with the fleet as the one before left it.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable

import pytest

from .conftest import BALANCER, NODES, Fleet, Releases, Run
from .load import Load

Say = Callable[[str], None]


def lost_nothing(load: Load, run: Run, say: Say, what: str) -> None:
    """No request failed. How many there were, how long the longest took, and how long each node, is printed."""
    times = re.findall(r"^ +((?:atlas-\S+|all nodes) +[\d.]+ s)$", run.output, re.MULTILINE)
    say("\n      ".join([f"{what}: {load}", *times]))
    assert load.failed == []
    assert load.seconds


@pytest.fixture(scope="module")
def first(fleet: Fleet) -> str:
    """The release that the fleet was provisioned with."""
    (release,) = set(fleet.releases().values())
    return release


def test_check_mode_says_what_an_upgrade_would_do_and_does_none_of_it(
    fleet: Fleet, releases: Releases, first: str
) -> None:
    archive = f"panda_server_wheelhouse={releases.following.archive}"
    run = fleet.play("playbooks/upgrade.yml", "--check", "-e", archive)
    assert run.said(f"{NODES[0]} would be drained, taken from {first} to {releases.following.name}")
    assert fleet.releases() == dict.fromkeys(NODES, first)
    assert fleet.ready() == dict.fromkeys(NODES, True)
    assert releases.following.name not in fleet.command(NODES[0], "ls /opt/panda.releases")


def test_an_upgrade_loses_no_request(fleet: Fleet, releases: Releases, first: str, say: Say) -> None:
    with fleet.load() as load:
        run = fleet.play("playbooks/upgrade.yml", "-e", f"panda_server_wheelhouse={releases.following.archive}")
    lost_nothing(load, run, say, "upgrade")
    assert first != releases.following.name
    assert fleet.releases() == dict.fromkeys(NODES, releases.following.name)
    assert fleet.ready() == dict.fromkeys(NODES, True)
    assert fleet.record(NODES[0])["good"] == [first, releases.following.name]


def test_a_second_upgrade_changes_nothing(fleet: Fleet, releases: Releases) -> None:
    run = fleet.play("playbooks/upgrade.yml", "-e", f"panda_server_wheelhouse={releases.following.archive}")
    assert run.changed == dict.fromkeys(NODES, 0)


def test_site_leaves_the_release_that_the_nodes_were_taken_to(fleet: Fleet, releases: Releases) -> None:
    run = fleet.play("site.yml")
    assert run.changed == dict.fromkeys([*NODES, BALANCER], 0)
    assert run.said(f"{NODES[0]} keeps {releases.following.name}. playbooks/upgrade.yml takes it to")
    assert fleet.releases() == dict.fromkeys(NODES, releases.following.name)


def test_a_release_whose_gate_fails_is_taken_back_and_goes_no_further(
    fleet: Fleet, releases: Releases, say: Say
) -> None:
    with fleet.load() as load:
        run = fleet.play(
            "playbooks/upgrade.yml",
            *("-e", f"panda_server_wheelhouse={releases.bad.archive}", "-e", "panda_server_verify_timeout=5"),
            expect=None,
        )
    lost_nothing(load, run, say, f"a release that fails its gate on {NODES[1]}")
    assert run.code != 0
    assert run.said(f"failed on {NODES[1]}, which is back in service on {releases.following.name}"), run.output
    assert run.said("in which 'alive=yes' is missing")
    expected = [releases.bad.name, releases.following.name, releases.following.name]
    assert fleet.releases() == dict(zip(NODES, expected, strict=True))
    assert fleet.ready() == dict.fromkeys(NODES, True)
    assert [list(fleet.record(node)["bad"]) for node in NODES] == [[], [releases.bad.name], []]


def test_a_release_that_is_known_bad_is_refused_before_anything_is_drained(fleet: Fleet, releases: Releases) -> None:
    archive = f"panda_server_wheelhouse={releases.bad.archive}"
    run = fleet.play("playbooks/upgrade.yml", "-e", archive, expect=2)
    assert run.said(f"{releases.bad.name} failed its gate on {NODES[1]}")
    assert run.said("add -e retry_bad=true")
    assert sum(run.changed.values()) == 0


def test_a_rollback_of_nodes_on_different_releases_wants_a_name(fleet: Fleet, releases: Releases, first: str) -> None:
    run = fleet.play("playbooks/rollback.yml", expect=2)
    assert run.said(f"{NODES[0]} on {releases.bad.name} would go to {releases.following.name}")
    assert run.said(f"{NODES[2]} on {releases.following.name} would go to {first}")
    assert sum(run.changed.values()) == 0


def test_a_rollback_refuses_a_release_that_is_known_bad(fleet: Fleet, releases: Releases) -> None:
    run = fleet.play("playbooks/rollback.yml", "-e", f"release={releases.bad.name}", expect=2)
    assert run.said(f"{NODES[1]}: {releases.bad.name} failed its gate there")
    assert sum(run.changed.values()) == 0


def test_the_fleet_goes_back_to_a_named_release_without_a_lost_request(
    fleet: Fleet, releases: Releases, say: Say
) -> None:
    name = f"release={releases.following.name}"
    with fleet.load() as load:
        run = fleet.play("playbooks/rollback.yml", "-e", name)
    lost_nothing(load, run, say, f"rollback of {NODES[0]}")
    assert run.changed[NODES[1]] == run.changed[NODES[2]] == 0
    assert fleet.releases() == dict.fromkeys(NODES, releases.following.name)


def test_a_rollback_two_nodes_at_a_time_loses_no_request(fleet: Fleet, first: str, say: Say) -> None:
    named = ("-e", f"release={first}", "-e", "batch=2")
    with fleet.load() as load:
        run = fleet.play("playbooks/rollback.yml", *named)
    lost_nothing(load, run, say, "rollback, one node, then two at a time")
    assert fleet.releases() == dict.fromkeys(NODES, first)
    assert fleet.play("playbooks/rollback.yml", *named).changed == dict.fromkeys(NODES, 0)


def test_renewed_certificates_are_served_without_a_lost_request(fleet: Fleet, say: Say) -> None:
    before = served(fleet)
    for node in NODES:
        fleet.authority.with_name(f"{node}.pem").unlink()
    with fleet.load() as load:
        run = fleet.play("playbooks/certificates.yml")
    lost_nothing(load, run, say, "renewed certificates")
    after = served(fleet)
    assert all(after[node] != before[node] for node in NODES)
    assert fleet.play("playbooks/certificates.yml").changed == dict.fromkeys(NODES, 0)


def served(fleet: Fleet) -> dict[str, str]:
    """Host to the certificate that it serves."""
    return {node: ssl.get_server_certificate((fleet.addresses[node], 25443)) for node in NODES}


def test_drain_and_undrain_take_a_node_out_and_in_without_a_lost_request(fleet: Fleet, say: Say) -> None:
    with fleet.load() as load:
        run = fleet.play("playbooks/drain.yml", "-l", NODES[2])
        assert fleet.ready() == {NODES[0]: True, NODES[1]: True, NODES[2]: False}
        assert fleet.get(NODES[2], "/server/panda/isAlive") == (200, "alive=yes")
        assert fleet.play("playbooks/drain.yml", "-l", NODES[2]).changed == {NODES[2]: 0}
        fleet.play("playbooks/undrain.yml", "-l", NODES[2])
    lost_nothing(load, run, say, "drain and undrain")
    assert fleet.ready() == dict.fromkeys(NODES, True)
    assert fleet.play("playbooks/undrain.yml", "-l", NODES[2]).changed == {NODES[2]: 0}


def test_the_whole_fleet_is_not_drained_by_a_slip(fleet: Fleet) -> None:
    run = fleet.play("playbooks/drain.yml", expect=2)
    assert run.said("This would take every node out of service")
    assert fleet.ready() == dict.fromkeys(NODES, True)


def test_the_last_node_that_serves_is_not_drained_after_the_others(fleet: Fleet) -> None:
    others = ",".join(NODES[1:])
    fleet.play("playbooks/drain.yml", "-l", others)
    try:
        run = fleet.play("playbooks/drain.yml", "-l", NODES[0], expect=2)
    finally:
        fleet.play("playbooks/undrain.yml", "-l", others)
    assert run.said(f"{NODES[0]} was not drained: {BALANCER} has no other node to send requests to")
    assert fleet.ready() == dict.fromkeys(NODES, True)


def test_a_node_without_a_balancer_is_upgraded_in_place_without_a_lost_request(
    fleet: Fleet, releases: Releases, first: str, say: Say
) -> None:
    alone = ("-l", NODES[2], "-e", '{"panda_server_balancers": []}')
    with fleet.load(NODES[2]) as load:
        run = fleet.play("playbooks/upgrade.yml", *alone, "-e", f"panda_server_wheelhouse={releases.following.archive}")
    lost_nothing(load, run, say, "upgrade in place")
    assert fleet.releases(NODES[2]) == {NODES[2]: releases.following.name}
    with fleet.load(NODES[2]) as load:
        run = fleet.play("playbooks/rollback.yml", *alone, "-e", f"release={first}")
    lost_nothing(load, run, say, "rollback in place")
    assert fleet.releases(NODES[2]) == {NODES[2]: first}
