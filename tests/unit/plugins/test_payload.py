"""The wheelhouse of the public package: what can be asked for, and what goes into it."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import time
import zipfile
from collections.abc import Callable
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


# A git reference ---------------------------------------------------------------------------------------------------
Commit = Callable[[str], str]
FORGE = "https://forge.example/panda-server.git"
OF_MASTER = f"panda-server[postgres] @ git+{FORGE}@master"


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commit:
    """Return `commit(branch)`, which adds a commit to a branch of the repository at FORGE."""
    repository = tmp_path / "forge"

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@t", *words],
            cwd=repository, check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip

    def commit(branch: str) -> str:
        git("checkout", "-B", branch)
        git("commit", "--allow-empty", "-m", "one more")
        git("tag", "--force", "-m", "annotated", f"v-{branch}")
        return git("rev-parse", "HEAD")

    repository.mkdir()
    git("init", "--quiet", "--initial-branch=master")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{repository}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", FORGE)
    return commit


@pytest.mark.parametrize(
    ("requirement", "follows"),
    [
        ("panda-server[postgres]==1.0.4", False),
        (f"panda-server @ git+{FORGE}@{'0a' * 20}", False),
        (f"panda-server @ git+{FORGE}@{'0a' * 20}#subdirectory=x", False),
        (f"panda-server @ git+{FORGE}@{'0a' * 5}", True),
        (f"panda-server @ git+{FORGE}@feature/one", True),
        ("panda-server @ git+ssh://git@forge.example/panda-server.git", True),
        (f"panda-server @ git+ssh://git@forge.example/panda-server.git@{'0a' * 20}", False),
    ],
)
def test_only_a_whole_commit_stays_what_it_is(requirement: str, follows: bool) -> None:
    assert payload.fault(requirement) == ""
    assert payload.follows(requirement) == follows
    if not follows:
        assert payload.at_commit(requirement) == requirement


def test_a_branch_or_a_tag_is_named_by_its_commit(commit: Commit) -> None:
    first, other = commit("master"), commit("feature/one")
    named = f"panda-server[postgres] @ git+{FORGE}@"
    assert payload.at_commit(OF_MASTER) == named + first
    assert payload.at_commit(f"{named}v-master") == named + first
    assert payload.at_commit(f"{named}feature/one#egg=x") == f"{named}{other}#egg=x"
    assert payload.at_commit(f"panda-server @ git+{FORGE}") == f"panda-server @ git+{FORGE}@{other}"


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        (
            f"{FORGE}@mastre",
            r"panda-server.git: has no branch and no tag mastre; correct it, or name a commit, with all",
        ),
        (f"{FORGE}@0a0a0a0", r"has no branch and no tag 0a0a0a0; .* all its 40 digits"),
        ("http://127.0.0.1:1/x.git@master", r"127.0.0.1:1/x.git: does not say where master is: .*name a commit"),
    ],
)
def test_a_reference_that_cannot_be_found_is_refused_with_the_remedy(commit: Commit, place: str, fault: str) -> None:
    commit("master")
    with pytest.raises(wheelhouse.WheelhouseError, match=fault):
        payload.at_commit(f"panda-server @ git+{place}")


def test_a_repository_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(payload, "LOOK_UP", 0.2)
    with pytest.raises(
        wheelhouse.WheelhouseError, match=r"cannot be asked where master is: .*timed out.*name a commit"
    ):
        payload.at_commit(OF_MASTER)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for what resolves and fetches; return the requirements that archives were made of."""
    made: list[str] = []

    def assemble(app: Path, requirement: str, lock: Path, third_party: Path, folder: Path) -> None:
        made.append(requirement)
        release = {"name": f"1-{len(made)}", "payload": "panda-server", "requirement": requirement}
        (third_party / "release.json").write_text(json.dumps(release))
        wheelhouse.pack(third_party, folder / f"panda-server-{len(made)}.tar")

    def third_party(lock: Path, cache: Path, build_lock: Path) -> Path:
        folder = cache / f"wheels-{len(made)}"
        folder.mkdir()
        return folder

    def resolve(*arguments: str) -> None:
        (out,) = [word.partition("=")[2] for word in arguments if word.startswith("--output-file=")]
        Path(out).write_text(next(Path(word).read_text() for word in arguments if word.endswith(".in")))

    monkeypatch.setattr(payload, "_assemble", assemble)
    monkeypatch.setattr(payload, "_third_party", third_party)
    monkeypatch.setattr(payload, "_uv", resolve)
    return made


def test_a_branch_that_has_moved_makes_another_release(tmp_path: Path, commit: Commit, built: list[str]) -> None:
    def build() -> wheelhouse.Wheelhouse:
        return payload.build(ROOT / "app", tmp_path / "cache", OF_MASTER, LOCKS)

    first = commit("master")
    one, again = build(), build()
    second = commit("master")
    two = build()
    named = f"panda-server[postgres] @ git+{FORGE}@"
    assert built == [named + first, named + second]
    assert one == again
    assert (one.requirement, two.requirement) == (named + first, named + second)
    assert one.name != two.name


def test_all_nodes_of_a_run_get_the_commit_that_its_first_one_got(
    tmp_path: Path, commit: Commit, built: list[str]
) -> None:
    def build(run: str) -> str:
        (tmp_path / run).mkdir(exist_ok=True)
        return payload.build(ROOT / "app", tmp_path / "cache", OF_MASTER, LOCKS, tmp_path / run).requirement

    first = commit("master")
    assert build("run").endswith(first)
    second = commit("master")
    assert build("run").endswith(first)
    assert build("the next").endswith(second)


def test_what_was_used_last_stays_in_the_cache(tmp_path: Path, commit: Commit, built: list[str]) -> None:
    cache = tmp_path / "cache"
    for number in range(payload.KEPT + 2):
        commit("master")
        payload.build(ROOT / "app", cache, OF_MASTER, LOCKS)
        for folder in (path for path in cache.iterdir() if path.is_dir() and path.stat().st_mtime > time.time() - 60):
            os.utime(folder, (number, number))
    assert sorted(path.name for path in cache.glob("*/*.tar")) == [f"panda-server-{n}.tar" for n in (3, 4, 5)]
    assert sorted(path.name for path in cache.glob("wheels-*")) == [f"wheels-{n}" for n in (2, 3, 4)]


def test_two_control_machines_give_a_release_one_name(tmp_path: Path) -> None:
    wheel = tmp_path / "panda_node-1-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    elsewhere = LOCK.replace("# via two", "# via -r /tmp/elsewhere/panda-server.in")
    assert payload.release_name("1.0", LOCK, wheel) == payload.release_name("1.0", elsewhere, wheel)
    assert payload.release_name("1.0", LOCK, wheel) != payload.release_name("1.0", LOCK.replace(":aa", ":ab"), wheel)


# What goes in ------------------------------------------------------------------------------------------------------
def test_what_the_package_does_not_work_with_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(wheelhouse.WheelhouseError, match=r"cannot store a task or a job on MySQL.*postgres or oracle"):
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


def test_a_wheel_that_was_compiled_here_is_refused_with_a_remedy_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(command: list[str], environment: dict[str, str], group: int | None) -> None:
        made = Path(command[command.index("--wheel-dir") + 1])
        made.mkdir()
        (made / "some-1.0-cp311-cp311-linux_x86_64.whl").touch()

    monkeypatch.setattr(wheelhouse, "run", build)
    with pytest.raises(wheelhouse.WheelhouseError, match=r"some-1.0-cp311.*need not run on a node") as refused:
        payload._build(Path("python"), tmp_path / "in.txt", tmp_path, True, tmp_path)
    # It would be refused on any host.
    assert "panda_server_wheelhouse" not in str(refused.value)


def test_an_archive_tells_its_payload(tmp_path: Path) -> None:
    for given, told in (("", "bundled"), (', "payload": "panda-server"', "panda-server")):
        folder = tmp_path / told
        folder.mkdir()
        (folder / "release.json").write_text('{"name": "1.0-x"' + given + "}")
        archive = tmp_path / f"{told}.tar"
        wheelhouse.pack(folder, archive)
        assert wheelhouse.read(archive).payload == told
