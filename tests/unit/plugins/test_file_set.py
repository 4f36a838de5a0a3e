"""The module file_set writes what belongs together, tries it first, and shows no secret."""

from __future__ import annotations

import grp
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import RunModule

ME = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}

FileSet = Callable[..., dict[str, Any]]


@pytest.fixture
def file_set(run_module: RunModule) -> FileSet:
    """Return a function that runs the module; what it makes belongs to whoever runs the tests."""

    def run(check: bool = False, diff: bool = False, pythonpath: str = "", **arguments: Any) -> dict[str, Any]:
        for kind in ("directories", "files"):
            arguments[kind] = [{**ME, **item} for item in arguments.get(kind, [])]
        environment = {"PYTHONPATH": pythonpath}
        return run_module("file_set", arguments, check=check, diff=diff, environment=environment)

    return run


def file(path: Path, content: str, **more: Any) -> dict[str, Any]:
    return {"path": str(path), "content": content, **more}


def mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o7777:04o}"


def tree(root: Path) -> dict[str, str]:
    """Everything below a folder: files with their text, links with their target."""
    return {
        str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_folders_and_files_are_made(file_set: FileSet, tmp_path: Path) -> None:
    result = file_set(
        directories=[{"path": f"{tmp_path}/etc", "mode": "0750"}],
        files=[file(tmp_path / "etc/a.cfg", "a = 1\n"), file(tmp_path / "etc/key", "k\n", mode="0400")],
    )
    assert result["changed"]
    assert tree(tmp_path) == {"etc/a.cfg": "a = 1\n", "etc/key": "k\n"}
    assert mode(tmp_path / "etc") == "0750"
    assert mode(tmp_path / "etc/a.cfg") == "0644"
    assert mode(tmp_path / "etc/key") == "0400"


def test_owner_and_group_are_set(file_set: FileSet, tmp_path: Path) -> None:
    assert os.getuid() == 0, "only root may give a file away: run the tests as root"
    theirs = {"owner": "daemon", "group": "daemon"}
    file_set(
        directories=[{"path": f"{tmp_path}/data", **theirs}],
        files=[file(tmp_path / "data/a", "", mode="0600", **theirs)],
    )
    for path in (tmp_path / "data", tmp_path / "data/a"):
        assert (path.owner(), path.group()) == ("daemon", "daemon")


def test_a_second_run_changes_nothing(file_set: FileSet, tmp_path: Path) -> None:
    wanted = {
        "directories": [{"path": f"{tmp_path}/etc"}],
        "files": [file(tmp_path / "etc/a", "é\n", mode="0640")],
        "absent": [f"{tmp_path}/old"],
        "validate": ["true"],
    }
    assert file_set(**wanted)["changed"]
    second = file_set(**wanted)
    assert not second["changed"]
    assert second["changed_paths"] == []


def test_a_wrong_mode_is_put_right_without_a_new_file(file_set: FileSet, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("k\n")
    path.chmod(0o644)
    inode = path.stat().st_ino
    assert file_set(files=[file(path, "k\n", mode="0600")])["changed_paths"] == [str(path)]
    assert mode(path) == "0600"
    assert path.stat().st_ino == inode


def test_a_link_to_a_folder_serves_as_a_folder(file_set: FileSet, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / "logs").symlink_to("disk")
    wanted = {"directories": [{"path": f"{tmp_path}/logs", "mode": "0750"}]}
    assert file_set(**wanted)["changed"]
    assert mode(tmp_path / "disk") == "0750"
    assert not file_set(**wanted)["changed"]
    assert not file_set(**wanted, check=True)["changed"]


def test_check_mode_on_a_bare_tree_tells_everything_and_does_nothing(file_set: FileSet, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("x")
    result = file_set(
        check=True,
        directories=[{"path": f"{tmp_path}/etc", "owner": "not_made_yet", "group": "not_made_yet"}],
        files=[file(tmp_path / "etc/a", "a\n", owner="not_made_yet")],
        absent=[f"{tmp_path}/old"],
    )
    assert result["changed_paths"] == [f"{tmp_path}/{name}" for name in ("etc", "etc/a", "old")]
    assert tree(tmp_path) == {"old": "x"}


def test_an_account_that_check_mode_did_not_make_yet_is_no_fault(file_set: FileSet, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("a\n")
    path.chmod(0o600)
    result = file_set(check=True, files=[file(path, "a\n", owner="not_made_yet", mode="0644")])
    assert result["changed_paths"] == [str(path)]


def test_the_diff_shows_the_text_before_and_after(file_set: FileSet, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before\n")
    (diff,) = file_set(diff=True, files=[file(tmp_path / "a", "after\n")])["diff"]
    assert (diff["before_header"], diff["before"], diff["after"]) == (f"{tmp_path}/a", "before\n", "after\n")


def test_a_secret_is_never_shown(file_set: FileSet, tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    path.write_text("PASSWORD=old-secret\n")
    changed = file_set(diff=True, files=[file(path, "PASSWORD=new-secret\n", secret=True, mode="0600")])
    assert changed["changed"]
    removed = file_set(diff=True, absent=[str(path)])
    assert removed["changed"]
    refused = file_set(diff=True, files=[file(path, "PASSWORD=third-secret\n", secret=True)], validate=["false"])
    assert refused["failed"]
    assert "-secret" not in json.dumps([changed, removed, refused])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "[server]\ndbhost = db.example.org\ndbpasswd = hunter2\nemailPass: pw%2\n",
            "[server]\ndbhost = db.example.org\ndbpasswd = $PANDA_DB_PASSWORD\nemailPass = none\n",
        ),
        ('{"server": {"dbpasswd": "hunt\\"er2", "dbhost": "db.example.org"}}\n', '{"server": {}}\n'),
        ("export PANDA_DB_PASSWORD='hunter 2'\n", "TZ=UTC\n"),
    ],
)
def test_a_secret_of_a_file_that_was_written_by_other_means_is_not_shown(
    file_set: FileSet, tmp_path: Path, before: str, after: str
) -> None:
    path = tmp_path / "panda_server.cfg"
    path.write_text(before)
    (diff,) = file_set(diff=True, files=[file(path, after)])["diff"]
    assert "(not shown)" in diff["before"]
    for secret in ("hunt", "er2", "pw%2"):
        assert secret not in json.dumps(diff)
    assert ("db.example.org" in diff["before"]) == ("db.example.org" in before)
    assert diff["after"] == after
    assert path.read_text() == after


def test_a_full_disk_is_said_of_the_file_that_had_no_room(file_set: FileSet, small_disk: Path) -> None:
    result = file_set(files=[file(small_disk / "a", "x" * 8192)])
    assert list(small_disk.iterdir()) == []
    assert result["failed"]
    assert result["msg"] == f"{small_disk}/a: No space left on device"


def test_a_file_that_is_only_to_be_created_keeps_its_text(file_set: FileSet, tmp_path: Path) -> None:
    wanted = {"files": [file(tmp_path / "state", "production\n", create_only=True)]}
    assert file_set(**wanted)["changed"]
    (tmp_path / "state").write_text("draining\n")
    assert not file_set(**wanted)["changed"]
    assert tree(tmp_path) == {"state": "draining\n"}


def test_a_file_takes_the_place_of_a_link_and_leaves_its_target_alone(file_set: FileSet, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("theirs")
    (tmp_path / "a").symlink_to("target")
    file_set(files=[file(tmp_path / "a", "ours")])
    assert not (tmp_path / "a").is_symlink()
    assert tree(tmp_path) == {"a": "ours", "target": "theirs"}


def test_files_and_links_are_removed_but_not_what_they_point_to(file_set: FileSet, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("x")
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "old").write_text("x")
    absent = [f"{tmp_path}/{name}" for name in ("link", "dangling", "old")]
    assert file_set(absent=absent)["changed_paths"] == absent
    assert tree(tmp_path) == {"kept": "x"}
    assert not file_set(absent=absent)["changed"]


def test_all_that_stands_in_the_way_is_named_and_nothing_is_changed(file_set: FileSet, tmp_path: Path) -> None:
    for name in ("file", "absent"):
        (tmp_path / name).mkdir()
    (tmp_path / "folder").write_text("x")
    result = file_set(
        directories=[{"path": f"{tmp_path}/folder"}, {"path": f"{tmp_path}/new"}],
        files=[file(tmp_path / "other", "y"), file(tmp_path / "file", "z")],
        absent=[f"{tmp_path}/absent"],
    )
    assert result["failed"]
    for name in ("file", "absent", "folder"):
        assert f"{tmp_path}/{name}: " in result["msg"]
    assert tree(tmp_path) == {"folder": "x"}
    assert not (tmp_path / "new").exists()


def test_a_file_without_its_folder_is_refused_by_name(file_set: FileSet, tmp_path: Path) -> None:
    result = file_set(files=[file(tmp_path / "nowhere/a", "x")])
    assert result["failed"]
    assert f"{tmp_path}/nowhere/a: its folder does not exist" in result["msg"]


def test_a_trial_sees_every_file_of_the_set_at_its_full_path(file_set: FileSet, tmp_path: Path) -> None:
    kept, changed, seen = tmp_path / "kept", tmp_path / "changed", tmp_path / "seen"
    kept.write_text("kept\n")
    (tmp_path / "state").write_text("draining\n")
    file_set(
        files=[
            file(kept, "kept\n"),
            file(changed, "new\n"),
            file(tmp_path / "state", "production\n", create_only=True),
        ],
        validate=[f"sh -c 'cat {{stage}}{kept} {{stage}}{changed} {{stage}}{tmp_path}/state > {seen}'"],
    )
    assert seen.read_text() == "kept\nnew\ndraining\n"


def test_a_failed_trial_leaves_everything_as_it_was(file_set: FileSet, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a\n")
    (tmp_path / "old").write_text("old\n")
    before = tree(tmp_path)
    result = file_set(
        files=[file(tmp_path / "new", "new\n"), file(tmp_path / "a", "changed\n")],
        absent=[f"{tmp_path}/old"],
        validate=["true", f"sh -c 'echo {{stage}}{tmp_path}/a: line 3 is wrong >&2; exit 7'"],
    )
    assert result["failed"]
    assert f"answered 7: {tmp_path}/a: line 3 is wrong" in result["msg"]
    assert tree(tmp_path) == before


def test_what_does_not_change_is_not_tried(file_set: FileSet, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a\n")
    assert not file_set(files=[file(tmp_path / "a", "a\n")], validate=["false"]).get("failed")


def test_a_missing_checker_is_a_warning_under_check_and_a_failure_else(file_set: FileSet, tmp_path: Path) -> None:
    wanted = {"files": [file(tmp_path / "a", "a\n")], "validate": ["/opt/not/there check {stage}"]}
    checked = file_set(**wanted, check=True)
    assert checked["changed"]
    assert "/opt/not/there is not installed yet" in json.dumps(checked["warnings"])
    refused = file_set(**wanted)
    assert refused["failed"]
    assert "/opt/not/there" in refused["msg"]
    assert tree(tmp_path) == {}


def test_a_file_is_replaced_in_one_step(file_set: FileSet, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("before\n")
    with path.open() as reader:
        file_set(files=[file(path, "after\n")])
        assert reader.read() == "before\n"
    assert tree(tmp_path) == {"a": "after\n"}


# Loaded by the module's Python at its start: before every step on files, writes down which of those that
# hold the secret others may read.
WATCHER = """
import pathlib, sys
root, report = pathlib.Path({root!r}), {report!r}
def hook(event, arguments):
    if event in ("os.chmod", "os.chown", "os.rename", "os.remove") and not watching:
        watching.append(event)
        for path in root.iterdir():
            if "s3cret" in path.read_text():
                with open(report, "a") as file:
                    file.write(f"{{event}} {{path.stat().st_mode & 0o077:o}}\\n")
        watching.clear()
watching = []
sys.addaudithook(hook)
"""


def test_a_secret_is_never_readable_by_others_on_its_way(file_set: FileSet, tmp_path: Path) -> None:
    target, hooks = tmp_path / "etc", tmp_path / "hooks"
    target.mkdir()
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(WATCHER.format(root=str(target), report=str(tmp_path / "report")))
    file_set(files=[file(target / "key", "s3cret\n", mode="0400")], pythonpath=str(hooks))
    assert mode(target / "key") == "0400"
    seen = (tmp_path / "report").read_text().splitlines()
    assert "os.rename 0" in seen
    assert [line for line in seen if not line.endswith(" 0")] == []


def test_what_an_interrupted_run_has_written_is_changed_until_somebody_has_put_it_into_use(
    file_set: FileSet, tmp_path: Path
) -> None:
    pending = tmp_path / "run" / "role"
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "other").write_text("as it is\n")
    wanted = {"files": [file(etc / "a", "1\n"), file(etc / "other", "as it is\n")], "pending": str(pending)}
    assert file_set(check=True, **wanted)["changed_paths"] == [str(etc / "a")]
    assert not pending.exists()
    file_set(**wanted)
    # Here the run ends. Those after it find the files as they should be.
    for check in (True, False):
        again = file_set(check=check, **wanted)
        assert (again["changed"], again["changed_paths"]) == (True, [str(etc / "a")])
    # Another set with the same memory has nothing to do with that.
    assert not file_set(files=[file(etc / "other", "as it is\n")], pending=str(pending))["changed"]
    pending.unlink()
    assert not file_set(**wanted)["changed"]


def test_a_change_is_remembered_before_it_is_made(file_set: FileSet, tmp_path: Path) -> None:
    (tmp_path / "in the way").mkdir()
    gone = file(tmp_path / "no folder" / "a", "1\n")
    assert file_set(files=[gone], pending=str(tmp_path / "pending"))["failed"]
    assert (tmp_path / "pending").read_text() == f"{gone['path']}\n"
