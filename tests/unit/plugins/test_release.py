"""The module release makes releases from a wheelhouse archive, switches between them, and tidies up."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils import wheelhouse

from .conftest import RunModule

NAME = "1.0-0a1b2c3d4e"
WHEEL = "tiny-1.0-py3-none-any.whl"


class Node:
    """A folder that stands in for a node's /opt, and the module at work in it."""

    def __init__(self, folder: Path, run_module: RunModule) -> None:
        self.folder = folder
        self.root = folder / "panda.releases"
        self.link = folder / "panda"
        self.run_module = run_module

    def run(self, state: str, name: str = NAME, check: bool = False, **more: Any) -> dict[str, Any]:
        places = {"root": str(self.root), "link": str(self.link), "python": sys.executable}
        return self.run_module("release", {"state": state, "name": name, **places, **more}, check=check)

    def install(self, archive: Path, check: bool = False, **more: Any) -> dict[str, Any]:
        checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
        return self.run("installed", check=check, **{"archive": str(archive), "checksum": checksum, **more})

    def has(self, *names: str, good: list[str], payload: str = "bundled") -> None:
        """Put complete releases there, the oldest first, and a record of the good ones."""
        for age, name in enumerate(names):
            folder = self.root / name
            folder.mkdir(parents=True)
            (folder / "release.json").write_text(json.dumps({"name": name, "payload": payload}))
            os.utime(folder, (1000 + age, 1000 + age))
        record = {"good": good, "last_good": good[-1] if good else None}
        (self.root / "releases.json").write_text(json.dumps(record))

    def releases(self) -> set[str]:
        return {path.name for path in self.root.iterdir() if path.is_dir()}

    def record(self) -> Any:
        return json.loads((self.root / "releases.json").read_text())


@pytest.fixture
def node(tmp_path: Path, run_module: RunModule) -> Node:
    return Node(tmp_path, run_module)


@pytest.fixture(scope="session")
def installer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of PyPA's installer, as a wheelhouse archive carries it."""
    folder = tmp_path_factory.mktemp("installer")
    wheelhouse.download(wheelhouse.INSTALLER, folder)
    (wheel,) = folder.glob("installer-*.whl")
    return wheel


def make_archive(folder: Path, *tools: Path, name: str = NAME) -> Path:
    """Make a wheelhouse archive of one small wheel."""
    wheels = folder / "wheels"
    wheels.mkdir()
    contents = {
        "tiny.py": "VALUE = 42\n",
        "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={digest(text)},{len(text)}\n" for path, text in contents.items())
    with zipfile.ZipFile(wheels / WHEEL, "w") as wheel:
        for path, text in {**contents, "tiny-1.0.dist-info/RECORD": record}.items():
            wheel.writestr(path, text)
    for tool in tools:
        shutil.copy(tool, wheels)
    (wheels / "release.json").write_text(json.dumps({"name": name, "version": "1.0"}))
    archive = folder / f"panda-node-{name}.tar"
    wheelhouse.pack(wheels, archive)
    return archive


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def test_a_release_is_installed_without_an_index_and_only_once(node: Node, tmp_path: Path, installer: Path) -> None:
    archive = make_archive(tmp_path, installer)
    result = node.install(archive)
    assert result["changed"], result
    python = node.root / NAME / "bin/python"
    said = subprocess.check_output([python, "-c", "import tiny; print(tiny.VALUE, tiny.__file__)"], text=True)
    assert said.startswith(f"42 {node.root}/{NAME}/lib/")
    assert not archive.exists()
    again = node.run("installed", archive=str(archive), checksum="")
    assert not again["changed"], again


def test_under_selinux_the_programs_have_their_label_before_the_release_is_complete(
    node: Node, tmp_path: Path, installer: Path
) -> None:
    """systemd starts what has another label in another domain, or not at all; an upgrade runs no restorecon."""
    stand_in = tmp_path / "selinux"
    stand_in.mkdir()
    (stand_in / "sitecustomize.py").write_text(
        "from ansible.module_utils.basic import AnsibleModule as module\n"
        "module.selinux_enabled = lambda self: True\n"
        "module.selinux_context = lambda self, path: []\n"
    )
    release = node.root / NAME
    asked = f'test ! -e {release}/release.json && echo "$@" >>{stand_in}/asked'
    (stand_in / "restorecon").write_text(f"#!/bin/sh\n{asked}\n")
    (stand_in / "restorecon").chmod(0o755)
    archive = make_archive(tmp_path, installer)
    arguments = {
        "state": "installed", "name": NAME, "root": str(node.root), "link": str(node.link), "python": sys.executable,
        "archive": str(archive), "checksum": hashlib.sha256(archive.read_bytes()).hexdigest(),
    }  # fmt: skip
    environment = {"PYTHONPATH": str(stand_in), "PATH": f"{stand_in}:{os.environ['PATH']}"}
    result = node.run_module("release", arguments, environment=environment)
    assert result.get("changed"), result
    assert (stand_in / "asked").read_text() == f"-R {release}/bin\n"


def test_what_an_interrupted_run_left_is_made_anew(node: Node, tmp_path: Path, installer: Path) -> None:
    (node.root / NAME / "bin").mkdir(parents=True)
    (node.root / NAME / "half").write_text("x")
    assert node.install(make_archive(tmp_path, installer))["changed"]
    assert json.loads((node.root / NAME / "release.json").read_text())["name"] == NAME
    assert not (node.root / NAME / "half").exists()


def test_an_archive_with_another_checksum_is_not_touched(node: Node, tmp_path: Path) -> None:
    archive = make_archive(tmp_path)
    result = node.install(archive, checksum="0" * 64)
    assert result["failed"]
    assert f"{archive}: SHA-256 is " in result["msg"]
    assert f"expected {'0' * 64}" in result["msg"]
    assert not node.root.exists()
    assert archive.exists()


def test_a_wheel_that_cannot_be_unpacked_leaves_no_release(node: Node, tmp_path: Path, installer: Path) -> None:
    broken = tmp_path / "broken-1.0-py3-none-any.whl"
    broken.write_text("not a zip file")
    result = node.install(make_archive(tmp_path, installer, broken))
    assert result["failed"]
    assert result["msg"].startswith(f"{broken.name} cannot be installed: ")
    assert result["msg"].endswith("File is not a zip file")
    assert node.releases() == set()


def test_an_archive_without_the_installer_is_refused(node: Node, tmp_path: Path) -> None:
    result = node.install(make_archive(tmp_path))
    assert result["failed"]
    assert "holds no installer-*.whl, so an older panda-provision made it; make the wheelhouse again" in result["msg"]
    assert node.releases() == set()


def test_an_archive_of_another_release_is_refused(node: Node, tmp_path: Path) -> None:
    result = node.install(make_archive(tmp_path, name="2.0-ffffffffff"))
    assert result["failed"]
    assert f"holds release 2.0-ffffffffff, not {NAME}" in result["msg"]
    assert node.releases() == set()


def test_an_archive_that_reaches_out_of_its_folder_is_refused(node: Node, tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar"
    (tmp_path / "payload").write_text("x")
    with tarfile.open(archive, "w") as tar:
        tar.add(tmp_path / "payload", "../escaped")
    result = node.install(archive)
    assert result["failed"]
    assert "../escaped has no place in a wheelhouse archive" in result["msg"]
    assert node.releases() == set()


def test_a_missing_archive_is_named(node: Node, tmp_path: Path) -> None:
    result = node.run("installed", archive=f"{tmp_path}/none.tar", checksum="0")
    assert result["failed"]
    assert f"{tmp_path}/none.tar" in result["msg"]


def test_check_mode_installs_nothing_and_needs_no_archive(node: Node, tmp_path: Path) -> None:
    assert node.run("installed", archive=f"{tmp_path}/not-copied.tar", checksum="0", check=True)["changed"]
    assert not node.root.exists()


def test_the_link_is_switched_in_one_step_and_only_once(node: Node) -> None:
    node.has("one", "two", good=["one"])
    node.link.symlink_to("panda.releases/one")
    assert node.run("active", "two")["changed"]
    assert os.readlink(node.link) == "panda.releases/two"
    assert {path.name for path in node.folder.iterdir()} == {"panda", "panda.releases"}
    assert not node.run("active", "two")["changed"]


def test_releases_elsewhere_are_linked_by_their_full_path(node: Node) -> None:
    node.has("one", good=[])
    node.link = node.folder / "opt" / "panda"
    node.link.parent.mkdir()
    node.run("active", "one")
    assert os.readlink(node.link) == str(node.root / "one")


def test_check_mode_switches_nothing(node: Node) -> None:
    assert node.run("active", "not-installed-yet", check=True)["changed"]
    assert not node.link.is_symlink()


def test_an_incomplete_release_does_not_become_active(node: Node) -> None:
    node.has("one", "half", good=["one"])
    node.link.symlink_to("panda.releases/one")
    (node.root / "half" / "release.json").unlink()
    result = node.run("active", "half")
    assert result["failed"]
    assert "half is not a complete release" in result["msg"]
    assert os.readlink(node.link) == "panda.releases/one"


@pytest.mark.parametrize("check", [False, True])
def test_a_folder_in_place_of_the_link_is_left_alone(node: Node, check: bool) -> None:
    node.has("one", good=[])
    node.link.mkdir()
    result = node.run("active", "one", check=check)
    assert result["failed"]
    assert f"mv {node.link} {node.link}.old" in result["msg"]
    assert node.link.is_dir()


@pytest.fixture
def configured(node: Node) -> list[Path]:
    """A node on a release of one payload, one of another beside it that brings its configuration."""
    files = [node.folder / "etc" / name for name in ("server.cfg", "env", "secrets")]
    files[0].parent.mkdir()
    files[0].write_text("of the bundled one")
    files[2].write_text("password")
    files[2].chmod(0o600)
    node.has("bundled", good=["bundled"])
    node.has("package", good=["bundled"], payload="panda-server")
    node.run("active", "bundled")
    for file in files[:2]:
        brought = Path(f"{node.root}/package/configuration{file}")
        brought.parent.mkdir(parents=True, exist_ok=True)
        brought.write_text("of the package")
    return files


def texts(files: list[Path]) -> list[str]:
    return [file.read_text() if file.is_file() else "" for file in files]


def test_another_payload_brings_its_configuration_and_leaves_what_it_found(node: Node, configured: list[Path]) -> None:
    switch = {"configuration": list(map(str, configured))}
    assert node.run("active", "package", check=True, **switch)["changed"]
    assert texts(configured) == ["of the bundled one", "", "password"]
    assert node.run("active", "package", **switch)["changed"]
    assert texts(configured) == ["of the package", "of the package", ""]
    assert not node.run("active", "package", **switch)["changed"]
    # The way back, with the mode of the secret.
    node.run("active", "bundled", **switch)
    assert texts(configured) == ["of the bundled one", "", "password"]
    assert configured[2].stat().st_mode & 0o777 == 0o600
    node.run("active", "package", **switch)
    assert texts(configured) == ["of the package", "of the package", ""]


def test_a_switch_that_was_interrupted_before_the_configuration_came_is_completed(
    node: Node, configured: list[Path]
) -> None:
    node.link.unlink()
    node.link.symlink_to("panda.releases/package")
    assert node.run("active", "package", configuration=list(map(str, configured)))["changed"]
    assert texts(configured) == ["of the package", "of the package", ""]
    assert not (node.root / "package" / "configuration").exists()


def test_a_release_of_the_same_payload_leaves_the_configuration_as_it_is(node: Node, configured: list[Path]) -> None:
    node.has("later", good=["bundled"])
    left = Path(f"{node.root}/later/configuration{configured[0]}")
    left.parent.mkdir(parents=True)
    left.write_text("of a switch that never was made")
    node.run("active", "later", configuration=list(map(str, configured)))
    assert texts(configured) == ["of the bundled one", "", "password"]
    assert not (node.root / "later" / "configuration").exists()


def test_a_good_release_is_recorded_once(node: Node) -> None:
    node.has("one", "two", good=["one"])
    node.link.symlink_to("panda.releases/two")
    assert node.run("good", "two")["changed"]
    assert node.record() == {"good": ["one", "two"], "last_good": "two", "bad": {}}
    assert not node.run("good", "two")["changed"]


def test_going_back_makes_the_older_release_the_last_good_one(node: Node) -> None:
    node.has("one", "two", good=["one", "two"])
    node.link.symlink_to("panda.releases/one")
    assert node.run("good", "one")["changed"]
    assert node.record() == {"good": ["two", "one"], "last_good": "one", "bad": {}}


def test_the_oldest_releases_beyond_the_wanted_number_are_removed(node: Node) -> None:
    node.has("one", "two", "three", "four", good=["one", "two", "three"])
    node.link.symlink_to("panda.releases/four")
    result = node.run("good", "four", keep=2)
    assert result["removed"] == ["one", "two"]
    assert node.releases() == {"three", "four"}
    assert node.record() == {"good": ["three", "four"], "last_good": "four", "bad": {}}


def test_neither_the_active_nor_the_last_good_release_is_removed(node: Node) -> None:
    node.has("active", "good", "new", good=["good"])
    node.link.symlink_to("panda.releases/active")
    result = node.run("good", "good", keep=1)
    assert result["removed"] == ["new"]
    assert node.releases() == {"active", "good"}


def test_check_mode_tells_what_would_be_removed_and_removes_nothing(node: Node) -> None:
    node.has("one", "two", good=["one"])
    node.link.symlink_to("panda.releases/two")
    result = node.run("good", "two", keep=1, check=True)
    assert (result["changed"], result["removed"]) == (True, ["one"])
    assert node.releases() == {"one", "two"}
    assert node.record() == {"good": ["one"], "last_good": "one"}


def test_the_release_that_would_be_gone_back_to_is_not_removed(node: Node) -> None:
    node.has("back", "failed", "unused", "new", good=["back", "new"])
    node.link.symlink_to("panda.releases/new")
    assert node.run("good", "new", keep=2)["removed"] == ["failed", "unused"]
    assert node.releases() == {"back", "new"}


def test_a_release_that_failed_its_gate_is_recorded_with_the_reason(node: Node) -> None:
    node.has("one", "two", good=["one"])
    assert node.run("bad", "two", why="port 25080 is silent")["changed"]
    assert node.record() == {"good": ["one"], "last_good": "one", "bad": {"two": "port 25080 is silent"}}
    assert not node.run("bad", "two", why="port 25080 is silent")["changed"]


def test_a_good_release_that_turns_out_bad_is_no_longer_gone_back_to(node: Node) -> None:
    node.has("one", "two", good=["one", "two"])
    node.run("bad", "two", why="jobs are lost")
    assert node.record() == {"good": ["one"], "last_good": "one", "bad": {"two": "jobs are lost"}}


def test_a_bad_release_that_passes_its_gate_is_good_again(node: Node) -> None:
    node.has("one", "two", good=["one"])
    node.link.symlink_to("panda.releases/two")
    node.run("bad", "two", why="the disk was full")
    node.run("good", "two")
    assert node.record() == {"good": ["one", "two"], "last_good": "two", "bad": {}}


def test_check_mode_records_nothing_bad(node: Node) -> None:
    node.has("one", good=["one"])
    assert node.run("bad", "one", why="none", check=True)["changed"]
    assert node.record() == {"good": ["one"], "last_good": "one"}


def test_a_rollback_is_recorded_until_the_next_release(node: Node) -> None:
    node.has("one", "two", "three", good=["one", "two"])
    node.link.symlink_to("panda.releases/one")
    assert node.run("good", "one", rolled_back_from="two")["changed"]
    assert node.record()["rolled_back"] == {"from": "two", "to": "one"}
    assert not node.run("good", "one")["changed"]
    node.run("good", "three")
    assert "rolled_back" not in node.record()


def test_a_full_disk_is_said_of_the_file_that_had_no_room_and_keeps_the_record(
    run_module: RunModule, small_disk: Path
) -> None:
    (small_disk / "releases.json").write_text("{}")
    answer = Node(small_disk.parent, run_module).run("bad", why="not alive", root=str(small_disk))
    assert answer["failed"]
    assert answer["msg"] == f"{small_disk}/releases.json: No space left on device"
    assert [path.name for path in small_disk.iterdir()] == ["releases.json"]
