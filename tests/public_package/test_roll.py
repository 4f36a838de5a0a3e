"""Another release of the package, or another payload, and back: in place, on one node without a balancer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.fleet.conftest import Fleet, Run
from tests.fleet.load import Load

NODE = "atlas-pandaserver-09"
OLDER = {"panda_server_payload_requirement": "panda-server[postgres]==1.0.2"}
BUNDLED: dict[str, Any] = {
    "panda_server_payload": "bundled",
    "panda_server_backend": "sqlite",
    "panda_server_dbname": "/var/lib/panda/panda.db",
    "panda_server_dbpasswd": "",
    "panda_server_daemon_jobs": {},
}


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest) -> Fleet:
    """The scenario's node, and playbooks that are run on it."""
    return Fleet(request.config.getoption("--ansible-inventory"), "panda_server")


@pytest.fixture
def roll(node: Fleet, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a playbook while clients ask the package; none of their requests may fail. Returns what then runs."""

    def under_load(playbook: str, variables: dict[str, Any] | None = None) -> str:
        with load_on(node) as load:
            node.play(playbook, "-l", NODE, "-e", json.dumps(variables or {}))
        with capsys.disabled():
            print(f"\n    {playbook}: {load}", flush=True)
        assert load.failed == []
        assert load.seconds
        return node.releases(NODE)[NODE]

    return under_load


def load_on(node: Fleet) -> Load:
    return node.load(NODE, path="/api/v1/system/is_alive", expected=b'"success": true')


def configuration(node: Fleet) -> str:
    """Checksums of what the services read, and who may read it."""
    files = "$(find /etc/panda /etc/sysconfig/panda_server_env /data/atlpan/etc -type f)"
    return node.command(NODE, f"sha256sum {files}; stat --format='%n %A %U' {files}")


def test_an_upgrade_between_releases_of_the_package_and_back_loses_no_request(
    node: Fleet, roll: Callable[..., str]
) -> None:
    first = node.releases(NODE)[NODE]
    before = configuration(node)
    assert roll("playbooks/upgrade.yml", OLDER).startswith("1.0.2-")
    assert roll("playbooks/rollback.yml") == first
    assert configuration(node) == before


def test_another_payload_comes_with_its_configuration_and_goes_with_it(node: Fleet, roll: Callable[..., str]) -> None:
    first = node.releases(NODE)[NODE]
    before = configuration(node)
    assert roll("playbooks/upgrade.yml", BUNDLED).startswith("0.1.0-")
    assert "sqlite" in node.command(NODE, "cat /etc/panda/panda_server.cfg")
    assert "PASSWORD" not in node.command(NODE, "ls /etc/panda; cat /etc/sysconfig/panda_server_env")
    refused: Run = node.play("site.yml", "-l", NODE, expect=2)
    assert refused.said("panda_server_payload: is panda-server, and atlas-pandaserver-09 is in service with 0.1.0-")
    assert refused.changed == {NODE: 0}
    assert roll("playbooks/rollback.yml") == first
    assert configuration(node) == before
    assert node.play("site.yml", "-l", NODE, "--check").changed == {NODE: 0}
