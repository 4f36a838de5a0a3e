"""What goes wrong in the middle of a roll: every host's end is looked at, and the same command finishes the work.

The statements follow one another; each leaves the fleet whole, in service, and on one release.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from .conftest import BALANCER, DATABASE, NODES, Fleet, Moment, Releases, kill

Eventually = Callable[..., None]


@pytest.fixture(autouse=True)
def _whole(fleet: Fleet, eventually: Eventually) -> Iterator[None]:
    """Begin with all nodes in service on one release, and end so."""
    eventually(fleet.ready, dict.fromkeys(NODES, True), within=60)
    yield
    eventually(fleet.ready, dict.fromkeys(NODES, True), within=60)
    assert len(set(fleet.releases().values())) == 1


@pytest.fixture
def roll(fleet: Fleet, releases: Releases) -> tuple[list[str], str]:
    """A playbook with its arguments that moves the whole fleet, and the release that it moves it to."""
    current = set(fleet.releases().values())
    if current == {releases.following.name}:
        other = [name for name in fleet.record(NODES[0])["good"] if name not in current][-1]
        return ["playbooks/rollback.yml", "-e", f"release={other}"], other
    archive = f"panda_server_wheelhouse={releases.following.archive}"
    return ["playbooks/upgrade.yml", "-e", archive], releases.following.name


Roll = tuple[list[str], str]


# What a run that is killed there leaves behind on the second node: drained; switched, with the old code running; a
# release that runs and is not yet recorded; a release that is recorded, on a node that is still out.
@pytest.mark.parametrize(
    "task", ["Take the node out of service", "Switch to the release", "Verify that the node is alive", "Record the"]
)
def test_a_run_that_is_killed_is_finished_by_the_same_command(fleet: Fleet, roll: Roll, task: str) -> None:
    command, release = roll
    with fleet.load() as load:
        fleet.play(*command, moment=Moment(task, NODES[1], kill), expect=-signal.SIGKILL)
        assert fleet.ready() == {NODES[0]: True, NODES[1]: False, NODES[2]: True}
        fleet.play(*command)
    assert load.failed == []
    assert fleet.releases() == dict.fromkeys(NODES, release)
    assert fleet.play(*command).changed == dict.fromkeys(NODES, 0)


def test_a_node_that_dies_while_drained_halts_the_roll(fleet: Fleet, roll: Roll, eventually: Eventually) -> None:
    command, release = roll
    before = fleet.releases()
    try:
        with fleet.load() as load:
            death = Moment("From here on there is something", NODES[1], lambda _: fleet.switch_off(NODES[1]))
            run = fleet.play(*command, moment=death, expect=None)
    finally:
        fleet.switch_on(NODES[1])
    assert run.code != 0
    assert run.recap[NODES[1]]["unreachable"] == 1
    assert load.failed == []
    assert fleet.releases(NODES[0], NODES[2]) == {NODES[0]: release, NODES[2]: before[NODES[2]]}
    # After its start it is out of service still, and waits for the run that drained it.
    eventually(lambda: fleet.get(NODES[1], "/node/live")[0], 200, within=60)
    assert not fleet.ready(NODES[1])[NODES[1]]
    fleet.play(*command)
    assert fleet.releases() == dict.fromkeys(NODES, release)


def test_a_new_configuration_that_an_interrupted_run_has_written_is_put_into_use_by_the_next(fleet: Fleet) -> None:
    command = ["site.yml", "-l", NODES[0], "-e", "panda_server_dbtimeout=55"]

    def since(unit: str) -> str:
        return fleet.command(NODES[0], f"systemctl show --value --property=StateChangeTimestampMonotonic {unit}")

    before = since("panda_wsgi.service")
    after_writing = Moment("Write the units", NODES[0], kill)
    fleet.play(*command, moment=after_writing, expect=-signal.SIGKILL)
    assert since("panda_wsgi.service") == before
    with fleet.load() as load:
        fleet.play(*command)
    assert load.failed == []
    assert since("panda_wsgi.service") != before
    assert fleet.play(*command).changed == {NODES[0]: 0}
    fleet.play(*command[:3])


def test_a_balancer_that_cannot_be_asked_keeps_all_in_service(fleet: Fleet, roll: Roll) -> None:
    command, _ = roll
    before = fleet.releases()
    away = json.dumps({"panda_server_balancers": [BALANCER, "nowhere.invalid"]})
    run = fleet.play(*command, "-e", away, expect=None)
    assert run.code != 0
    assert run.said(f"{NODES[0]} was not drained: the balancer nowhere.invalid cannot be asked")
    assert fleet.releases() == before
    assert fleet.ready() == dict.fromkeys(NODES, True)


@contextmanager
def full_disk(fleet: Fleet, node: str) -> Iterator[None]:
    """A node with no room where releases arrive: Ansible's folder for what it sends."""
    fleet.command(node, "mkdir -p /root/.ansible/tmp && mount -t tmpfs -o size=64k none /root/.ansible/tmp")
    try:
        yield
    finally:
        fleet.command(node, "umount /root/.ansible/tmp")


def test_a_node_without_room_keeps_all_as_they_are(fleet: Fleet, releases: Releases) -> None:
    before = fleet.releases()
    # A release that this node does not have yet.
    archive = f"panda_server_wheelhouse={releases.unseen.archive}"
    with full_disk(fleet, NODES[2]):
        run = fleet.play("playbooks/upgrade.yml", "-e", archive, expect=None)
    assert run.code != 0
    assert run.recap[NODES[2]]["failed"] == 1
    assert fleet.releases() == before
    assert fleet.ready() == dict.fromkeys(NODES, True)


def test_a_database_that_goes_away_in_the_middle_takes_the_node_back(
    fleet: Fleet, roll: Roll, eventually: Eventually
) -> None:
    command, release = roll
    before = fleet.releases()
    loss = Moment("From here on there is something", NODES[1], lambda _: fleet.switch_off(DATABASE))
    try:
        run = fleet.play(*command, "-e", "panda_server_drain_timeout=40", moment=loss, expect=None)
    finally:
        fleet.switch_on(DATABASE)
    assert run.code != 0
    assert run.recap[NODES[1]]["failed"] == 1
    eventually(fleet.ready, dict.fromkeys(NODES, True), within=60)
    assert fleet.releases() == {**before, NODES[0]: release}
    fleet.play(*command)
    assert fleet.releases() == dict.fromkeys(NODES, release)


def test_a_balancer_that_is_restarted_does_not_send_work_to_a_drained_node(fleet: Fleet) -> None:
    asked = "grep -c 'GET /server/panda/isAlive' /var/log/panda/panda_server_access_log"
    fleet.play("playbooks/drain.yml", "-l", NODES[2])
    fleet.command(BALANCER, "systemctl restart haproxy")
    # A process that starts takes every node for ready until it has asked.
    fleet.play("playbooks/drain.yml", "-l", NODES[2])
    before = fleet.command(NODES[2], asked)
    with fleet.load() as load:
        pass
    assert load.failed == []
    assert fleet.command(NODES[2], asked) == before
    fleet.play("playbooks/undrain.yml", "-l", NODES[2])
