"""playbooks/onboard.yml and offboard.yml: a fourth node comes and goes, and nobody notices but by its work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import BALANCER, NEWCOMER, NODES, Fleet
from .test_load_balancer import ready, sessions
from .test_squid_mesh import SCHEDCONFIG, File

ONBOARD, OFFBOARD = "playbooks/onboard.yml", "playbooks/offboard.yml"
UNITS = ("panda_httpd", "panda_wsgi", "panda_daemon", "squid")
NOTHING = dict.fromkeys([BALANCER, *NODES, NEWCOMER], 0)


def enter(fleet: Fleet, folder: Path, *groups: str) -> None:
    """Write the newcomer into these groups of the inventory, as an operator would."""
    path = folder / "newcomer.json"
    path.write_text(json.dumps({group: {"hosts": {NEWCOMER: {}}} for group in groups}))
    fleet.inventory[1:] = [str(path)]


@pytest.fixture(scope="module")
def folder(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the operator's inventory is; the others' statements have the scenario's again."""
    yield tmp_path_factory.mktemp("inventory")
    del fleet.inventory[1:]


def processes(fleet: Fleet) -> dict[str, str]:
    """Host to the main processes of its services."""
    command = "systemctl show --value --property=MainPID"
    found = {name: fleet.command(name, f"{command} {' '.join(UNITS)}") for name in NODES}
    return {**found, BALANCER: fleet.command(BALANCER, f"{command} haproxy")}


def known(fleet: Fleet) -> set[str]:
    """Those whose cache asks the newcomer's, and the balancer where it has it as a server."""
    caches = {name for name in NODES if f"name={NEWCOMER}" in fleet.command(name, "cat /etc/squid/squid.conf")}
    return caches | ({BALANCER} if NEWCOMER in fleet.servers()["panda_http"] else set())


def test_what_cannot_be_brought_in_is_refused_with_the_remedy(fleet: Fleet, folder: Path) -> None:
    enter(fleet, folder, "panda_servers", "panda_offboarded")
    refused = fleet.play(ONBOARD, "-e", f"node={NEWCOMER}", expect=2)
    assert refused.said("take it out of that group")
    enter(fleet, folder, "panda_servers")
    assert fleet.play(ONBOARD, "-e", "node=nowhere", expect=2).said("enter it in the group panda_servers")
    assert fleet.play(ONBOARD, "-l", NEWCOMER, expect=2).said(f"playbooks/onboard.yml -e node={NEWCOMER}")
    assert fleet.play(OFFBOARD, "-e", "node=panda_servers", expect=2).said("with it the fleet would be gone")


def test_check_mode_tells_of_a_bare_node_what_would_be_done_and_does_none_of_it(fleet: Fleet, folder: Path) -> None:
    enter(fleet, folder, "panda_servers")
    run = fleet.play(ONBOARD, "-e", f"node={NEWCOMER}", "--check", "--diff")
    assert {name for name, changed in run.changed.items() if changed} == {NEWCOMER, BALANCER, *NODES}
    assert not fleet.host(NEWCOMER).file("/etc/panda").exists
    assert not known(fleet)


def test_a_node_that_fails_its_burn_in_is_known_to_nobody(fleet: Fleet, folder: Path) -> None:
    enter(fleet, folder, "panda_servers")
    before = processes(fleet)
    # Its cache will refuse what it is tried with.
    run = fleet.play(ONBOARD, "-e", f"node={NEWCOMER}", "-e", '{"squid_paths": ["/trf/"]}', expect=2)
    assert run.said("Ask for it twice")
    assert {name for name, changed in run.changed.items() if changed} == {NEWCOMER}
    assert not known(fleet)
    assert processes(fleet) == before


def test_a_node_is_brought_in_without_a_failed_request_or_a_restart(
    fleet: Fleet, folder: Path, say: Callable[[str], None], eventually: Callable[..., None]
) -> None:
    enter(fleet, folder, "panda_servers")
    before = processes(fleet)
    with fleet.load() as load:
        run = fleet.play(ONBOARD, "-e", f"node={NEWCOMER}")
        eventually(lambda: sessions(fleet, NEWCOMER) > 20, True, within=20)
    say(f"onboarding took {run.seconds:.0f} s: {load}")
    assert load.failed == []
    assert processes(fleet) == before
    assert ready(fleet, NEWCOMER) == {True}
    assert known(fleet) == {BALANCER, *NODES}

    file = File(fleet)
    file.put(NEWCOMER)
    assert file.ask(NEWCOMER) == (200, f"from {NEWCOMER}")
    eventually(lambda: file.ask(NODES[0]), (200, f"from {NEWCOMER}"), within=5)
    fleet.command(NEWCOMER, f"rm {SCHEDCONFIG}/{file.name}")

    for text in ("certificate group bigpanda", "25080, 25443, 25085", f"({fleet.addresses[NEWCOMER]})"):
        assert run.said(text)
    assert fleet.play(ONBOARD, "-e", f"node={NEWCOMER}").changed == NOTHING


def test_a_node_is_taken_out_without_a_failed_request_or_a_restart(
    fleet: Fleet, folder: Path, say: Callable[[str], None]
) -> None:
    enter(fleet, folder, "panda_servers")
    before = processes(fleet)
    looked = fleet.play(OFFBOARD, "-e", f"node={NEWCOMER}", "--check", "--diff")
    assert all(looked.changed[name] for name in (NEWCOMER, BALANCER, *NODES))
    assert known(fleet) == {BALANCER, *NODES}
    assert ready(fleet, NEWCOMER) == {True}
    with fleet.load() as load:
        run = fleet.play(OFFBOARD, "-e", f"node={NEWCOMER}")
    say(f"offboarding took {run.seconds:.0f} s: {load}")
    assert load.failed == []
    assert processes(fleet) == before
    assert not known(fleet)
    for question, answer in (("is-active", "inactive"), ("is-enabled", "disabled")):
        said = fleet.host(NEWCOMER).run(f"systemctl {question} panda {' '.join(UNITS)}").stdout
        assert said.split() == [answer] * (1 + len(UNITS))
    assert fleet.command(NEWCOMER, "ls /etc/panda/panda_server.cfg")
    assert run.said("enter it in the group panda_offboarded")

    enter(fleet, folder, "panda_servers", "panda_offboarded")
    assert fleet.play(OFFBOARD, "-e", f"node={NEWCOMER}").changed == NOTHING


def test_site_yml_leaves_a_node_out_that_was_taken_out(fleet: Fleet, folder: Path) -> None:
    enter(fleet, folder, "panda_servers", "panda_offboarded")
    run = fleet.play("site.yml", "-l", f"{BALANCER},{NODES[0]},{NEWCOMER}")
    assert run.changed == {BALANCER: 0, NODES[0]: 0}
