"""A node that serves the cache's folders, and runs no application."""

from __future__ import annotations

from typing import Any

import pytest
import testinfra

NODE = "atlas-pandacache-01"
FILE = "/var/log/panda/pandacache/sources.tar.gz"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Any:
    """The cache node, whatever node the rest of the scenario's statements are about."""
    inventory = request.config.getoption("--ansible-inventory")
    return testinfra.get_host(f"ansible://{NODE}", ansible_inventory=inventory)


@pytest.fixture
def cached(host: Any) -> Any:
    """A file that came from elsewhere."""
    host.run_expect([0], "echo of a user > %s", FILE)
    yield "/cache/sources.tar.gz"
    host.run_expect([0], "rm %s", FILE)


def test_httpd_and_squid_serve_its_files(host: Any, outside: Any, settings: dict[str, Any], cached: str) -> None:
    assert outside.http(cached).body == "of a user\n"
    assert outside.https(cached).body == "of a user\n"
    assert host.check_output("curl --silent http://127.0.0.1:%s%s", str(settings["squid_port"]), cached) == "of a user"


def test_nothing_else_runs_on_it(host: Any) -> None:
    running = host.check_output("systemctl list-units --plain --no-legend --state=active 'panda*'")
    assert {line.split()[0] for line in running.splitlines()} == {"panda.service", "panda_httpd.service"}
    assert host.run("ls /etc/systemd/system/panda_wsgi.service").rc != 0


def test_it_answers_nothing_of_the_api(outside: Any) -> None:
    assert outside.status("/api/v1/system/is_alive") in (403, 404)
    assert outside.status("/node/ready") in (403, 404)


def test_it_comes_back_after_a_reboot(outside: Any, reboot: Any, eventually: Any) -> None:
    reboot()
    eventually(outside.alive, True, within=60)
