"""The units: how they hang together, what they say of themselves, and what brings them back."""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

# What an operator names to stop a child alone, and the units that then rest. systemd would start panda_wsgi.service
# again for the next request as long as its socket is there, so the socket is what is named.
ALONE = {
    "panda_httpd.service": ["panda_httpd.service"],
    "panda_wsgi.socket": ["panda_wsgi.socket", "panda_wsgi.service"],
    "panda_daemon.service": ["panda_daemon.service"],
}
SERVICES = ["panda_httpd.service", "panda_wsgi.service", "panda_daemon.service"]


@dataclass
class Load:
    """Clients that ask a node without a pause until they are stopped; half of them keep their connection."""

    address: str
    port: int
    kept: int = 2
    once: int = 2
    answers: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def ask(self, keep: bool) -> None:
        connection = http.client.HTTPConnection(self.address, self.port, timeout=30)
        while not self.stopped.is_set():
            try:
                connection.request("GET", "/server/panda/isAlive", headers={} if keep else {"Connection": "close"})
                answer = connection.getresponse()
                body = answer.read()
                if (answer.status, body) == (200, b"alive=yes"):
                    self.answers.append(answer.status)
                else:
                    self.failed.append(f"{answer.status}: {body[:100]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
            # The test's machine has other work; this is enough to hit any gap that a client could notice.
            time.sleep(0.005)

    def __enter__(self) -> Load:
        kinds = [True] * self.kept + [False] * self.once
        self.threads = [threading.Thread(target=self.ask, args=(keep,)) for keep in kinds]
        for thread in self.threads:
            thread.start()
        time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.5)
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def test_every_unit_runs_and_starts_at_boot(host: Any, units: Any) -> None:
    assert units.states(units.parent, *units.children) == {units.parent: "active"} | units.all("active")
    for unit in (units.parent, *units.children):
        assert host.run("systemctl is-enabled %s", unit).stdout.strip() == "enabled", unit


def test_the_parent_shows_the_result_of_its_schema_check(host: Any) -> None:
    assert 'Status: "DB schema check: OK"' in host.run("systemctl status --no-pager --full panda.service").stdout


def test_the_parent_stops_and_starts_every_child(
    host: Any, units: Any, outside: Any, eventually: Callable[..., None]
) -> None:
    with units.stopped():
        assert units.left_running() == {}
        assert not outside.connects(outside.port)
        assert not outside.connects(outside.port_ssl)
        assert not host.file("/run/panda/wsgi.sock").exists
    eventually(units.states, units.all("active"), within=30)
    eventually(outside.alive, True, within=10)


@pytest.mark.parametrize("child", list(ALONE))
def test_a_child_stops_and_starts_alone(units: Any, outside: Any, eventually: Callable[..., None], child: str) -> None:
    resting = ALONE[child]
    units.control("stop", child)
    try:
        assert units.states() == units.all("active") | dict.fromkeys(resting, "inactive")
        assert units.states(units.parent) == {units.parent: "active"}
        if child == "panda_wsgi.socket":
            assert outside.status("/server/panda/isAlive") == 503
        else:
            assert outside.connects(outside.port) == (child != "panda_httpd.service")
    finally:
        units.control("start", *resting)
    assert units.states() == units.all("active")
    eventually(outside.alive, True, within=10)


def test_a_child_started_by_hand_brings_its_parent(units: Any, outside: Any, eventually: Callable[..., None]) -> None:
    units.control("stop", units.parent)
    units.control("start", "panda_httpd.service")
    assert units.states(units.parent) == {units.parent: "active"}
    eventually(outside.alive, True, within=30)


def test_panda_wsgi_says_how_busy_it_is(
    units: Any, outside: Any, settings: dict[str, Any], eventually: Callable[..., None]
) -> None:
    line = re.compile(r"Total requests: (\d+); Idle/Busy workers (\d+)/(\d+);Requests/sec: [\d.e-]+")

    def told() -> tuple[int, ...]:
        matched = line.fullmatch(units.show("panda_wsgi.service", "StatusText"))
        return tuple(int(number) for number in matched.groups()) if matched else (0, 0, 0)

    # The first is written a second after the start, then one every ten seconds.
    eventually(lambda: told() != (0, 0, 0), True, within=5)
    total, idle, busy = told()
    assert idle + busy == settings["panda_server_num_wsgi"] * settings["panda_server_num_wsgi_thread"]
    outside.http("/server/panda/isAlive")
    eventually(lambda: told()[0] > total, True, within=13)


def test_panda_daemon_says_what_it_does(units: Any, eventually: Callable[..., None]) -> None:
    units.control("restart", "panda_daemon")
    line = r"Jobs run: [1-9]\d*; Failed: 0; Running: none; Next: \S+ in \d+ s"
    eventually(lambda: bool(re.fullmatch(line, units.show("panda_daemon.service", "StatusText"))), True, within=15)


def test_httpd_says_how_busy_it_is_exactly_where_it_can(host: Any, units: Any, eventually: Callable[..., None]) -> None:
    """Its module mod_systemd does: EL9 and Debian's own have it, the EL9 double has not."""
    configuration = host.file("/etc/panda/panda_server-httpd.conf").content_string
    folder = re.search(r"LoadModule \S+ (\S+)/mod_", configuration).group(1)
    able = host.file(f"{folder}/mod_systemd.so").exists
    assert units.show("panda_httpd.service", "Type") == ("notify" if able else "exec")
    if able:
        eventually(lambda: "requests" in units.show("panda_httpd.service", "StatusText").lower(), True, within=15)
    else:
        assert units.show("panda_httpd.service", "StatusText") == ""


@pytest.mark.parametrize("unit", SERVICES)
def test_what_is_killed_comes_back_by_itself(
    host: Any, units: Any, outside: Any, eventually: Callable[..., None], unit: str
) -> None:
    killed, left_over = units.main_process(unit), set(units.processes(unit))
    host.run_expect([0], "kill -KILL %s", str(killed))
    eventually(lambda: units.main_process(unit) not in (0, killed), True, within=20)
    eventually(units.states, units.all("active"), within=20)
    eventually(outside.alive, True, within=20)
    assert left_over & set(units.processes(unit)) == set()


@pytest.mark.parametrize(
    "command",
    ["systemctl restart panda_wsgi", "systemctl reload panda_wsgi", "systemctl kill -s HUP --kill-who=main panda_wsgi"],
)
def test_no_request_fails_while_the_application_is_renewed(host: Any, units: Any, outside: Any, command: str) -> None:
    workers = set(units.processes("panda_wsgi.service")) - {units.main_process("panda_wsgi.service")}
    with Load(outside.address, outside.port) as load:
        host.run_expect([0], command)
        deadline = time.monotonic() + 15
        while workers & set(units.processes("panda_wsgi.service")) and time.monotonic() < deadline:
            time.sleep(0.2)
    assert workers & set(units.processes("panda_wsgi.service")) == set()
    assert load.failed == []
    assert len(load.answers) > 50


def test_no_new_connection_fails_while_httpd_is_reloaded(host: Any, units: Any, outside: Any) -> None:
    process = units.main_process("panda_httpd.service")
    with Load(outside.address, outside.port, kept=0, once=4) as load:
        for _ in range(3):
            host.run_expect([0], "systemctl reload panda_httpd")
            time.sleep(0.7)
    assert load.failed == []
    assert len(load.answers) > 50
    assert units.main_process("panda_httpd.service") == process


def test_after_a_reboot_the_node_is_alive_by_itself(
    host: Any, units: Any, outside: Any, settings: dict[str, Any], reboot: Callable[[], None],
    eventually: Callable[..., None],
) -> None:  # fmt: skip
    reboot()
    eventually(outside.alive, True, within=60)
    eventually(lambda: units.states(units.parent, *units.children),
               {units.parent: "active"} | units.all("active"), within=30)  # fmt: skip
    account, group = settings["panda_server_user"], settings["panda_server_group"]
    for path, owner, mode in (
        ("/run/panda", ("root", "root"), 0o755),
        ("/run/panda/wsgi.sock", (account, group), 0o600),
        ("/run/panda_httpd", ("root", "root"), 0o755),
        ("/run/panda_wsgi", (account, group), 0o700),
    ):
        found = host.file(path)
        assert ((found.user, found.group), found.mode) == (owner, mode), path
    assert units.states("panda.service") == {"panda.service": "active"}
