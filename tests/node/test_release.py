"""The release: which code runs, where from, and what the node remembers of it."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@pytest.fixture
def release(host: Any, settings: dict[str, Any]) -> str:
    """Folder of the release in use."""
    return str(host.check_output("readlink --canonicalize %s", settings["panda_server_prefix"]))


def test_the_prefix_is_a_link_to_a_release(host: Any, settings: dict[str, Any], release: str) -> None:
    assert host.file(settings["panda_server_prefix"]).is_symlink
    assert os.path.dirname(release) == settings["panda_server_releases"]
    assert re.fullmatch(r".+-[0-9a-f]{10}", os.path.basename(release))


def test_the_release_in_use_is_recorded_as_good(host: Any, settings: dict[str, Any], release: str) -> None:
    record = json.loads(host.file(f"{settings['panda_server_releases']}/releases.json").content_string)
    assert record["last_good"] == os.path.basename(release)
    assert record["last_good"] in record["good"]


def test_what_was_installed_is_written_beside_it(host: Any, release: str) -> None:
    assert json.loads(host.file(f"{release}/release.json").content_string)["name"] == os.path.basename(release)


WHAT_IS_INSTALLED = """
import importlib.metadata, json
print(json.dumps([[d.name, d.version, d.requires or []] for d in importlib.metadata.distributions()]))
"""


def test_every_part_of_the_release_fits_the_others(host: Any, release: str) -> None:
    parts = json.loads(host.check_output("%s/bin/python -c %s", release, WHAT_IS_INSTALLED))
    versions = {canonicalize_name(name): version for name, version, _ in parts}
    assert "panda-node" in versions
    needed = [(name, Requirement(text)) for name, _, requires in parts for text in requires]
    unfit = [
        f"{name} needs {need}"
        for name, need in needed
        if need.marker is None or need.marker.evaluate({"python_version": "3.11", "extra": ""})
        if not need.specifier.contains(versions.get(canonicalize_name(need.name), "0"), prereleases=True)
        or canonicalize_name(need.name) not in versions
        # The public package names mod_wsgi, which nothing needs where gunicorn runs it: it is left out on purpose.
        if canonicalize_name(need.name) != "mod-wsgi"
    ]
    assert unfit == []


def test_the_release_belongs_to_root_and_nobody_else_writes_to_it(host: Any, settings: dict[str, Any]) -> None:
    strange = r"find %s ! -type l \( ! -user root -o -perm /022 \)"
    found = host.check_output(strange, settings["panda_server_releases"])
    assert found.splitlines() == []


def test_every_service_runs_the_release_in_use(host: Any, units: Any, release: str) -> None:
    for unit in ("panda_wsgi.service", "panda_daemon.service"):
        used = host.check_output("tr '\\0' ' ' < /proc/%s/cmdline", str(units.main_process(unit)))
        assert used.split()[0] == f"{release}/bin/python", unit


def test_no_wheel_and_no_installer_is_left_on_the_node(host: Any, release: str) -> None:
    assert host.check_output("find /root /var/tmp -name '*.tar'") == ""
    assert not host.file(f"{release}/bin/pip").exists
