"""Rotation of the logs, which must not be noticed by anybody."""

from __future__ import annotations

import base64
import http.client
import re
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from ..unit.conftest import ROOT, Renderer
from ..unit.test_logrotate_template import VARIANTS

ENTRY = "/etc/logrotate.d/panda_server"
# Squid's own, which is packaged with it.
SQUID_ENTRY = "/etc/logrotate.d/squid"
ROTATIONS = 10
CLIENTS = 4
WRITTEN_PER_REQUEST = ("panda_server_access_log", "panda-Entry.log")


@dataclass
class Load:
    """Clients that ask a node until they are stopped, each request with a mark of its own."""

    direct: str
    cached: str
    mark: str = field(default_factory=lambda: f"rotation-{uuid.uuid4().hex[:12]}")
    sent: set[str] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, client: int) -> None:
        """Ask httpd and squid in turn."""
        count = 0
        while not self.stopped.is_set():
            count += 1
            mark = f"{self.mark}-{client}-{count}"
            # The mark makes each question a new one to squid, so that all of them reach httpd's log.
            url = f"{self.direct}?{mark}" if count % 2 else f"{self.cached}?{mark}"
            try:
                with urllib.request.urlopen(url, timeout=10) as response:
                    response.read()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(f"{url}: {error}")
            self.sent.add(mark)

    def __enter__(self) -> Load:
        self.threads = [threading.Thread(target=self.run, args=(client,)) for client in range(CLIENTS)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()


class AccessLog:
    """The access log of a node's httpd, with all that was rotated from it."""

    def __init__(self, host: Any, settings: dict[str, Any]) -> None:
        self.host = host
        self.folder: str = settings["panda_server_logdir"]

    def rotated(self) -> set[str]:
        """Names of the rotated files, whether they are compressed by now or not."""
        names = self.host.check_output("ls %s", self.folder).split()
        return {name.removesuffix(".gz") for name in names if name.startswith("panda_server_access_log-")}

    def marks(self, mark: str) -> set[str]:
        """The marks of all clients that were logged."""
        found = self.host.run(f"zgrep -aho %s {self.folder}/panda_server_access_log*", f"{mark}-[0-9]*-[0-9]*")
        return set(found.stdout.split())


@pytest.fixture
def access_log(host: Any, settings: dict[str, Any]) -> AccessLog:
    return AccessLog(host, settings)


@pytest.fixture
def processes(units: Any) -> Callable[[], dict[str, Any]]:
    """Looks which processes there are that have to outlive a rotation."""
    services = [unit for unit in units.children if unit.endswith(".service")] + ["squid.service"]

    def look() -> dict[str, Any]:
        # The daemon's workers and httpd's come and go with their work; their parents stay.
        lasting = {unit: {units.main_process(unit)} - {0} for unit in services}
        for unit in ("panda_wsgi.service", "squid.service"):
            lasting[unit] = set(units.processes(unit))
        return lasting

    return look


@pytest.fixture
def cached_path(host: Any, settings: dict[str, Any]) -> Iterator[str]:
    """A file that squid may cache."""
    name = f"rotation-{uuid.uuid4().hex}.json"
    file = f"{settings['panda_server_schedconfig_cache_dir']}/{name}"
    host.run_expect([0], "echo {} > %s", file)
    yield f"/cache/schedconfig/{name}"
    host.run_expect([0], "rm %s", file)


def test_the_timer_runs_and_starts_at_boot(host: Any) -> None:
    assert host.service("logrotate.timer").is_running
    assert host.service("logrotate.timer").is_enabled
    assert "logrotate.timer" in host.check_output("systemctl list-timers logrotate.timer")


def test_the_entry_belongs_to_root_and_runs_nothing(host: Any) -> None:
    file = host.file(ENTRY)
    assert (file.user, file.group, file.mode) == ("root", "root", 0o644)
    assert not re.search(r"^\s*(pre|post)rotate\b|^\s*(first|last)action\b", file.content_string, re.MULTILINE)


def judgement(tried: Any) -> tuple[int, list[str]]:
    """How logrotate ended, which is well in spite of an option that it does not know, and what it complained of."""
    return tried.rc, re.findall(r"^error:.*", tried.stdout + tried.stderr, re.MULTILINE)


@pytest.mark.parametrize("variant", VARIANTS)
def test_logrotate_takes_every_variant_of_the_entry(host: Any, settings: dict[str, Any], variant: str) -> None:
    account = {name: settings[name] for name in ("panda_server_user", "panda_server_group")}
    entry = Renderer(ROOT)("logrotate", "panda_server.j2", **account, **VARIANTS[variant])
    encoded = base64.b64encode(entry.encode()).decode()
    tried = host.run(f"f=$(mktemp); echo {encoded} | base64 -d > $f; logrotate -d $f; code=$?; rm $f; exit $code")
    assert judgement(tried) == (0, [])


def test_logrotate_finds_no_fault_in_all_entries_together(host: Any) -> None:
    assert judgement(host.run("logrotate -d /etc/logrotate.conf")) == (0, [])


def test_what_users_have_stored_is_not_rotated(host: Any, settings: dict[str, Any]) -> None:
    tried = host.run("logrotate -d %s", ENTRY)
    considered = re.findall(r"considering log (\S+)", tried.stdout + tried.stderr)
    assert considered
    assert not [path for path in considered if path.startswith(settings["panda_server_cache_dir"])]


def test_ten_rotations_under_load_are_noticed_by_nobody(
    host: Any,
    outside: Any,
    settings: dict[str, Any],
    processes: Callable[[], dict[str, Any]],
    access_log: AccessLog,
    cached_path: str,
    eventually: Callable[..., None],
) -> None:
    load = Load(
        direct=f"http://{outside.address}:{outside.port}/server/panda/isAlive",
        cached=f"http://{outside.address}:{settings['squid_port']}{cached_path}",
    )
    rotated_before, before = access_log.rotated(), processes()
    with load:
        for _ in range(ROTATIONS):
            # The names of rotated files hold the second.
            time.sleep(1.1)
            host.run_expect([0], "logrotate -f %s %s", ENTRY, SQUID_ENTRY)
        time.sleep(1.1)
    assert processes() == before
    assert all(before.values())
    assert len(access_log.rotated() - rotated_before) == ROTATIONS
    assert load.failed == []
    assert len(load.sent) > ROTATIONS * CLIENTS
    eventually(lambda: sorted(load.sent - access_log.marks(load.mark)), [], within=10)


def test_every_process_writes_to_the_new_file_after_a_rotation(
    host: Any, outside: Any, settings: dict[str, Any], eventually: Callable[..., None]
) -> None:
    host.run_expect([0], "logrotate -f %s", ENTRY)
    outside.http("/server/panda/isAlive?after")

    def empty() -> list[str]:
        files = {name: host.file(f"{settings['panda_server_logdir']}/{name}") for name in WRITTEN_PER_REQUEST}
        return [name for name, file in files.items() if not file.size]

    eventually(empty, [], within=10)
