"""No service runs on a database whose schema does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def one_behind(service: Any, units: Any) -> Iterator[str]:
    """The database says that its schema is one version behind; put right afterwards."""
    where = "WHERE component = 'panda-node'"
    major, minor, patch = service.query(f"SELECT major, minor, patch FROM pandadb_version {where}")[0]
    service.query(f"UPDATE pandadb_version SET minor = {minor - 1} {where}")
    yield f"{major}.{minor - 1}.{patch}"
    service.query(f"UPDATE pandadb_version SET minor = {minor} {where}")
    units.control("start", units.parent)


def test_with_the_schema_one_version_behind_nothing_runs_and_status_says_why(
    host: Any, units: Any, outside: Any, service: Any, eventually: Callable[..., None], one_behind: str
) -> None:
    # A running node is told to balancers as not ready, and goes on.
    eventually(lambda: outside.status("/node/ready"), 503, within=10)
    assert one_behind in outside.http("/node/ready").body

    units.control("stop", units.parent)
    started = host.run("systemctl start panda.service")
    assert started.rc != 0
    assert units.states(units.parent) == {units.parent: "failed"}
    assert units.left_running() == {}
    assert not outside.connects(outside.port)
    assert not outside.connects(outside.port_ssl)

    told = host.run("systemctl status --no-pager --full panda.service").stdout
    line = r"Status: \"DB schema check: installed is (\S+), this release needs (\S+); run '.+'\""
    said = re.search(line, told)
    assert said, told
    assert said.group(1) == one_behind
    assert said.group(2) != one_behind

    # A child by hand does not get past the check either.
    assert host.run("systemctl start panda_httpd.service").rc != 0
    assert units.states() == units.all("inactive")


def test_once_the_schema_fits_the_parent_starts_everything(
    host: Any, units: Any, outside: Any, service: Any, eventually: Callable[..., None], one_behind: str
) -> None:
    units.control("stop", units.parent)
    assert host.run("systemctl start panda.service").rc != 0
    service.query("UPDATE pandadb_version SET minor = minor + 1 WHERE component = 'panda-node'")
    units.control("start", units.parent)
    eventually(units.states, units.all("active"), within=30)
    eventually(outside.alive, True, within=10)
    eventually(lambda: outside.status("/node/ready"), 200, within=10)
