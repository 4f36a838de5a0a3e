"""Wheelhouse archives: packed the same every time, refused when they are not sound, built anew only when needed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils import wheelhouse

from .conftest import ROOT


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return a sound archive of a release without wheels."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "release.json").write_text(json.dumps({"name": "1.0-0a1b2c3d4e"}))
    (folder / "requirements.txt").write_text("")
    made = tmp_path / "panda-node.tar"
    wheelhouse.pack(folder, made)
    return made


def checksum_file(archive: Path) -> Path:
    return archive.with_name(archive.name + ".sha256")


def test_a_sound_archive_tells_its_name(archive: Path) -> None:
    read = wheelhouse.read(archive)
    assert (read.name, read.archive) == ("1.0-0a1b2c3d4e", str(archive))
    assert checksum_file(archive).read_text() == f"{read.checksum}  panda-node.tar\n"


def test_a_relative_path_is_made_absolute(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(archive.parent)
    assert wheelhouse.read(Path(archive.name)).archive == str(archive)


def test_a_missing_archive_or_checksum_is_named_with_the_remedy(archive: Path) -> None:
    checksum_file(archive).unlink()
    with pytest.raises(wheelhouse.WheelhouseError, match=r"panda-node.tar.sha256: no such file.*make wheelhouse"):
        wheelhouse.read(archive)
    archive.unlink()
    with pytest.raises(wheelhouse.WheelhouseError, match=r"panda-node.tar: no such file"):
        wheelhouse.read(archive)


def test_a_damaged_archive_is_refused(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(wheelhouse.WheelhouseError, match=r"its SHA-256 is [0-9a-f]{64}, and .* says [0-9a-f]{64}"):
        wheelhouse.read(archive)


def test_an_empty_checksum_file_is_refused(archive: Path) -> None:
    checksum_file(archive).write_text("")
    with pytest.raises(wheelhouse.WheelhouseError, match="says nothing"):
        wheelhouse.read(archive)


@pytest.mark.parametrize(
    "content",
    [b"this is no tar", b"", json.dumps({"name": "1.0"}).encode()],
    ids=["text", "nothing", "json"],
)
def test_what_is_not_an_archive_is_refused(archive: Path, content: bytes) -> None:
    archive.write_bytes(content)
    checksum_file(archive).write_text(wheelhouse.sha256(content))
    with pytest.raises(wheelhouse.WheelhouseError, match="is not a wheelhouse archive"):
        wheelhouse.read(archive)


@pytest.mark.parametrize("release", ["[]", "{}", "not json", None])
def test_an_archive_without_a_release_is_refused(archive: Path, release: str | None) -> None:
    folder = archive.parent / "wheels"
    (folder / "release.json").unlink()
    if release is not None:
        (folder / "release.json").write_text(release)
    wheelhouse.pack(folder, archive)
    with pytest.raises(wheelhouse.WheelhouseError, match="is not a wheelhouse archive"):
        wheelhouse.read(archive)


def test_the_same_files_give_the_same_archive(archive: Path) -> None:
    folder = archive.parent / "wheels"
    first = archive.read_bytes()
    for number, path in enumerate(sorted(folder.iterdir())):
        os.utime(path, (number, number))
        path.chmod(0o600)
    wheelhouse.pack(folder, archive)
    assert archive.read_bytes() == first


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return the sources of a small application."""
    folder = tmp_path / "app"
    (folder / "src" / "tiny").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "requirements.lock", "src/tiny/__init__.py"):
        (folder / name).write_text(f"# {name}\n")
    return folder


def test_nothing_but_content_decides_the_fingerprint(app: Path) -> None:
    first = wheelhouse.fingerprint(app)
    (app / "src/tiny/__pycache__").mkdir()
    (app / "src/tiny/__pycache__/x.pyc").write_text("x")
    (app / "tests").mkdir()
    (app / "tests/test_tiny.py").write_text("x")
    os.utime(app / "pyproject.toml", (1, 1))
    assert wheelhouse.fingerprint(app) == first


CHANGES: dict[str, Callable[[Path], object]] = {
    "a dependency": lambda app: (app / "requirements.lock").write_text("falcon==4\n"),
    "a source file": lambda app: (app / "src/tiny/__init__.py").write_text("x = 1\n"),
    "a new file": lambda app: (app / "src/tiny/new.py").write_text(""),
    "a removed file": lambda app: (app / "src/tiny/__init__.py").unlink(),
    "a renamed file": lambda app: (app / "src/tiny/__init__.py").rename(app / "src/tiny/other.py"),
    "the metadata": lambda app: (app / "pyproject.toml").write_text("x"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_every_change_of_content_changes_the_fingerprint(app: Path, change: Callable[[Path], object]) -> None:
    first = wheelhouse.fingerprint(app)
    change(app)
    assert wheelhouse.fingerprint(app) != first


def test_an_unchanged_application_is_built_once(app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def stand_in(app: Path, folder: Path) -> None:
        built.append(app)
        wheels = folder / "wheels"
        wheels.mkdir()
        (wheels / "release.json").write_text(json.dumps({"name": "1.0-x"}))
        wheelhouse.pack(wheels, folder / "panda-node-1.0-x.tar")

    monkeypatch.setattr(wheelhouse, "_build", stand_in)
    first = wheelhouse.build(app, tmp_path / "cache")
    assert wheelhouse.build(app, tmp_path / "cache") == first
    assert built == [app]
    (app / "README.md").write_text("changed")
    wheelhouse.build(app, tmp_path / "cache")
    assert len(built) == 2


def test_a_build_that_failed_is_not_taken_for_one(app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    for _ in range(2):
        with pytest.raises(wheelhouse.WheelhouseError, match="building the wheelhouse failed: -m pip"):
            wheelhouse.build(app, tmp_path / "cache")


def test_a_folder_without_an_application_is_refused(tmp_path: Path) -> None:
    with pytest.raises(wheelhouse.WheelhouseError, match="holds no application"):
        wheelhouse.build(tmp_path, tmp_path / "cache")


def test_the_oldest_glibc_of_the_nodes_decides_which_wheels_are_taken() -> None:
    """EL9 has glibc 2.34."""
    assert wheelhouse.PLATFORMS[0] == "manylinux_2_34_x86_64"


def test_every_dependency_of_the_application_is_pinned_by_hash() -> None:
    pinned = (ROOT / "app" / "requirements.lock").read_text().replace("\\\n", " ")
    lines = [line for line in pinned.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert lines
    assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []
