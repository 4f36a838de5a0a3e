"""The wheelhouse of the public package: what can be asked for, and what goes into it."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from pathlib import Path

import pytest
import yaml
from ansible_collections.panda.provision.plugins.plugin_utils import payload, wheelhouse

from .conftest import ROOT

LOCKS = ROOT / "requirements" / "payload"
LOCK = """\
# made by hand
one==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via two
panda-server @ git+https://example.org/panda-server.git@0123456789abcdef0123456789abcdef01234567
two==2.0 --hash=sha256:cc
"""


@pytest.mark.parametrize(
    "requirement",
    [
        "panda-server[postgres]==1.0.4",
        "panda-server[oracle]==1.0.4",
        "panda-server[atlasprod, postgres]==1.0.4.dev1",
        "panda-server==1.0.4",
        "panda-server[postgres] @ git+https://github.com/PanDAWMS/panda-server.git@master",
    ],
)
def test_a_version_or_a_git_reference_names_a_release(requirement: str) -> None:
    assert payload.fault(requirement) == ""


@pytest.mark.parametrize(
    "requirement", ["", "panda-server", "panda-server>=1", "panda-client==2", "panda-server @ git+file:///tmp/x"]
)
def test_nothing_else_does(requirement: str) -> None:
    assert "names no release" in payload.fault(requirement)


def test_what_would_need_a_compiler_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(wheelhouse.WheelhouseError, match="mysqlclient, which has no wheel"):
        payload.build(ROOT / "app", tmp_path, "panda-server[mysql]==1.0.4", LOCKS)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_read_entry_by_entry() -> None:
    entries = payload.blocks(LOCK)
    assert list(entries) == ["one", "panda-server", "two"]
    assert entries["one"] == "one==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"


def test_the_roles_default_is_what_the_repository_has_locked(tmp_path: Path) -> None:
    default = yaml.safe_load((ROOT / "roles/panda_server/defaults/main.yml").read_text())
    requirement = default["panda_server_payload_requirement"]
    assert payload.find_lock(ROOT / "app", tmp_path, requirement, LOCKS) == LOCKS / "panda-server.lock"
    entries = payload.blocks((LOCKS / "panda-server.lock").read_text())
    assert entries["panda-server"].startswith(f"panda-server=={requirement.rpartition('==')[2]} ")
    assert payload.LEFT_OUT not in entries
    assert [name for name, text in entries.items() if "--hash=sha256:" not in text] == []


def test_all_that_the_application_needs_is_locked_with_the_package() -> None:
    entries = payload.blocks((LOCKS / "panda-server.lock").read_text())
    needed = payload.blocks((ROOT / "app" / "requirements.lock").read_text())
    assert sorted(set(needed) - set(entries)) == []


def test_the_templates_with_the_building_machines_paths_stay_out(tmp_path: Path) -> None:
    wheel = tmp_path / "panda_server-1.0-py3-none-any.whl"
    files = {
        "pandaserver/__init__.py": "",
        "panda_server-1.0.data/data/etc/panda/panda_server.cfg.rpmnew": "/root/build",
        "panda_server-1.0.dist-info/RECORD": (
            "pandaserver/__init__.py,sha256=x,0\n"
            "panda_server-1.0.data/data/etc/panda/panda_server.cfg.rpmnew,sha256=y,11\n"
            "panda_server-1.0.dist-info/RECORD,,\n"
        ),
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    payload.without_data(wheel)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        record = archive.read("panda_server-1.0.dist-info/RECORD").decode()
    assert names == ["pandaserver/__init__.py", "panda_server-1.0.dist-info/RECORD"]
    assert [row[0] for row in csv.reader(io.StringIO(record))] == names


def test_the_build_hook_meets_no_account_of_a_node(tmp_path: Path) -> None:
    # In root's group it looks for atlpan, in any other for who is building.
    group = payload.hook_group()
    assert (group is None) == (os.getgid() != 0 or os.getuid() != 0)
    environment = payload.hook_environment(tmp_path)
    assert environment["DISABLE_MM"] == "1"
    assert environment["VIRTUAL_ENV"] == str(tmp_path)


def test_what_is_built_belongs_to_whoever_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(command: list[str], environment: dict[str, str], group: int | None) -> None:
        made = Path(command[command.index("--wheel-dir") + 1])
        made.mkdir()
        wheel = made / "panda_server-1.0-py3-none-any.whl"
        wheel.touch()
        os.chown(wheel, -1, -1 if group is None else group)

    monkeypatch.setattr(wheelhouse, "run", build)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    payload._build(Path("python"), tmp_path / "in.txt", wheels, True, tmp_path)
    assert [wheel.stat().st_gid for wheel in wheels.iterdir()] == [os.getgid()]


def test_an_archive_tells_its_payload(tmp_path: Path) -> None:
    for given, told in (("", "bundled"), (', "payload": "panda-server"', "panda-server")):
        folder = tmp_path / told
        folder.mkdir()
        (folder / "release.json").write_text('{"name": "1.0-x"' + given + "}")
        archive = tmp_path / f"{told}.tar"
        wheelhouse.pack(folder, archive)
        assert wheelhouse.read(archive).payload == told
