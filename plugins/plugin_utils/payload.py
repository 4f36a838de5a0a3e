"""Build, on the control machine, the wheelhouse of a node that runs the public panda-server package.

The archive has the form of the bundled application's, with the package and all it needs beside `panda-node`, so that
a node installs it like any other release. mod_wsgi, which the package names as a dependency, is left out of what is
locked: nothing imports it where gunicorn runs the application, and it alone would need a compiler and httpd's headers.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils import wheelhouse
from ansible_collections.panda.provision.plugins.plugin_utils.wheelhouse import Wheelhouse, WheelhouseError

PACKAGE = "panda-server"
LEFT_OUT = "mod-wsgi"
BOUNDS = "fastmcp<3\n"
"""What the package leaves open and does not run with: it imports a module that later ones do not have."""
KEPT = 3
"""Archives that stay in the cache, and folders of wheels; each is a quarter of a gigabyte."""
REQUIREMENT = re.compile(
    r"panda[-_]server(?:\[(?P<extras>[a-z0-9, ]+)\])?\s*(?:==\s*(?P<version>[0-9][0-9A-Za-z.]*)"
    # As pip reads it: what follows the last @ of the path is the reference.
    r"|@\s*git\+(?P<repository>(?:https?|ssh)://[^/\s]+/[^\s#]*?)(?:@(?P<reference>[^@\s#]+))?(?P<fragment>#\S*)?)"
)
COMMIT = re.compile(r"[0-9a-f]{40}")
LOOK_UP = 60
"""Seconds that a repository may take to say where its branches are."""
_NAME = re.compile(r"([A-Za-z0-9._-]+?)(?:==|\s*@\s)")


def fault(requirement: str) -> str:
    """What is wrong with a requirement; an empty string where nothing is."""
    match = REQUIREMENT.fullmatch(requirement.strip())
    if match is None:
        return (
            f"'{requirement}' names no release; write panda-server[postgres]==1.0.4, or a git reference: panda-server"
            "[postgres] @ git+https://github.com/PanDAWMS/panda-server.git@<commit, tag, or branch to follow>"
        )
    if "mysql" in re.split(r"[, ]+", match["extras"] or ""):
        return (
            "the extra mysql is not supported: the package cannot store a task or a job on MySQL "
            "(docs/decisions/0011-public-package.md); name postgres or oracle, and a database of that kind"
        )
    return ""


def follows(requirement: str) -> bool:
    """Whether a requirement names a branch or a tag, which can be another commit tomorrow."""
    match = REQUIREMENT.fullmatch(requirement.strip())
    return match is not None and bool(match["repository"]) and not COMMIT.fullmatch(match["reference"] or "")


def at_commit(requirement: str) -> str:
    """A requirement that names a branch or a tag, with the commit that this is at now; any other as it is."""
    match = REQUIREMENT.fullmatch(requirement.strip())
    if match is None or not follows(requirement):
        return requirement.strip()
    repository, reference = match["repository"], match["reference"] or "HEAD"
    names = [f"refs/heads/{reference}", f"refs/tags/{reference}^{{}}", f"refs/tags/{reference}", reference]
    remedy = (
        f"name a commit, with all its 40 digits, in place of {reference}: panda-server @ git+{repository}@<commit>; "
        "what a node runs now stands in /opt/panda/release.json"
    )
    try:
        done = subprocess.run(
            ["git", "ls-remote", "--", repository, *names], capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=LOOK_UP, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WheelhouseError(f"{repository}: cannot be asked where {reference} is: {error}; {remedy}") from error
    if done.returncode != 0:
        raise WheelhouseError(f"{repository}: does not say where {reference} is: {done.stderr.strip()}; {remedy}")
    found = {name: commit for commit, _, name in (line.partition("\t") for line in done.stdout.splitlines())}
    commit = next((found[name] for name in names if name in found), "")
    if not commit:
        raise WheelhouseError(f"{repository}: has no branch and no tag {reference}; correct it, or {remedy}")
    head, _, _ = requirement.strip().partition("git+")
    return f"{head}git+{repository}@{commit}{match['fragment'] or ''}"


def build(app: Path, cache: Path, requirement: str, locks: Path, run: Path | None = None) -> Wheelhouse:
    """Build the archive, or take it from `cache` where nothing that it is made of has changed.

    `locks` holds the lock of the default requirement and of what builds need. Any other requirement is resolved once,
    and its lock kept in `cache`. A branch or a tag is looked up at each build; with `run`, the folder of one run of a
    playbook, once for all its nodes: they get one release though the branch moves meanwhile.
    """
    if found := fault(requirement):
        raise WheelhouseError(found)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        requirement = _at_commit_of_run(requirement, run)
        lock = find_lock(app, cache, requirement, locks)
        digest = hashlib.sha256(f"2 {wheelhouse.fingerprint(app)} {requirement}".encode())
        for path in (lock, locks / "build.txt"):
            digest.update(path.read_bytes())
        folder = cache / digest.hexdigest()[:20]
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as temporary:
                made = Path(temporary) / "made"
                made.mkdir()
                wheels = _third_party(lock, cache, locks / "build.txt")
                _assemble(app, requirement, lock, wheels, made)
                made.rename(folder)
        os.utime(folder)
        _forget_old(cache)
    return wheelhouse.read(next(folder.glob("*.tar")))


def _at_commit_of_run(requirement: str, run: Path | None) -> str:
    if run is None or not follows(requirement):
        return at_commit(requirement)
    noted = run / f"panda-server-{wheelhouse.sha256(requirement.encode())[:20]}.requirement"
    if not noted.is_file():
        noted.write_text(at_commit(requirement))
    return noted.read_text()


def find_lock(app: Path, cache: Path, requirement: str, locks: Path) -> Path:
    """The lock of a requirement: the repository's for its default, else one that is made now, or was before."""
    wanted = [line for line in (locks / "panda-server.in").read_text().splitlines() if line and line[0] != "#"]
    if wanted == [requirement.strip()]:
        return locks / "panda-server.lock"
    identity = f"{requirement.strip()}\n{BOUNDS}{(app / 'pyproject.toml').read_text()}"
    lock = cache / f"panda-server-{wheelhouse.sha256(identity.encode())[:12]}.lock"
    if not lock.is_file():
        with tempfile.TemporaryDirectory() as temporary:
            source, made = Path(temporary) / "panda-server.in", Path(temporary) / "panda-server.lock"
            source.write_text(requirement + "\n")
            bounds = source.with_name("bounds.txt")
            bounds.write_text(BOUNDS)
            _uv(
                "--generate-hashes", "--no-emit-index-url", f"--no-emit-package={LEFT_OUT}",
                f"--constraint={bounds}", f"--output-file={made}", str(source), str(app / "pyproject.toml"),
            )  # fmt: skip
            shutil.copyfile(made, lock.with_suffix(".new"))
        lock.with_suffix(".new").rename(lock)
    return lock


def blocks(lock: str) -> dict[str, str]:
    """The entries of a lock by name, each with its hashes and without its comments."""
    found: dict[str, str] = {}
    name = ""
    for line in lock.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if match := _NAME.match(line):
            name = match[1].lower()
        found[name] = found.get(name, "") + line + "\n"
    return found


def _third_party(lock: Path, cache: Path, build_lock: Path) -> Path:
    """A folder with a wheel of each entry of the lock: fetched where there is one, else built."""
    digest = hashlib.sha256(lock.read_bytes() + build_lock.read_bytes()).hexdigest()
    folder = cache / f"wheels-{digest[:20]}"
    if folder.is_dir():
        os.utime(folder)
        return folder
    entries = blocks(lock.read_text())
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        work, wheels = Path(temporary), Path(temporary) / "wheels"
        wheels.mkdir()
        without_wheel = _without_wheel(lock, work)
        fetched, built = work / "fetched.txt", work / "built.txt"
        fetched.write_text("".join(text for name, text in entries.items() if name not in without_wheel))
        wheelhouse.download(fetched, wheels)
        python = _build_environment(build_lock, work / "build")
        for hashed in (True, False):  # a git reference has no hash: its commit is one
            chosen = [entries[name] for name in sorted(without_wheel) if ("--hash=" in entries[name]) == hashed]
            if chosen:
                built.write_text("".join(chosen))
                _build(python, built, wheels, hashed, work)
        for wheel in wheels.glob("panda_server-*.whl"):
            without_data(wheel)
        wheels.rename(folder)
    return folder


def _without_wheel(lock: Path, work: Path) -> set[str]:
    """Names of the entries for which the index has nothing but source code, or that come from git."""
    known = work / "pylock.toml"
    _uv("--no-deps", f"--output-file={known}", str(lock))
    packages: list[dict[str, Any]] = tomllib.loads(known.read_text())["packages"]
    return {package["name"] for package in packages if not package.get("wheels")}


def _build_environment(build_lock: Path, folder: Path) -> Path:
    """An environment with the locked build tools; returns its interpreter."""
    wheelhouse.run([sys.executable, "-m", "venv", str(folder)])
    python = folder / "bin" / "python"
    wheelhouse.run(
        [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps",
         "--require-hashes", "--only-binary=:all:", "--requirement", str(build_lock)]
    )  # fmt: skip
    return python


def _build(python: Path, requirements: Path, wheels: Path, hashed: bool, scratch: Path) -> None:
    made = scratch / f"made-{hashed}"
    wheelhouse.run(
        [str(python), "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps",
         "--no-build-isolation", *(["--require-hashes"] if hashed else []),
         "--wheel-dir", str(made), "--requirement", str(requirements)],
        environment=hook_environment(scratch), group=hook_group(),
    )  # fmt: skip
    for wheel in made.iterdir():
        if not wheel.name.endswith("-none-any.whl"):
            raise WheelhouseError(
                f"{wheel.name} was compiled for this machine and need not run on a node; name a release, or leave out "
                "the extra, that needs it: only what comes with wheels or needs no compiler is taken"
            )
        # A copy, which is of our own group: with a wide umask the other one could write to what nodes install.
        shutil.copyfile(wheel, wheels / wheel.name)


def hook_environment(scratch: Path) -> dict[str, str]:
    """What the package's build hook looks at: it makes folders in VIRTUAL_ENV, and reports where it may."""
    return {
        "VIRTUAL_ENV": str(scratch),
        "PANDA_INSTALL_TARGET": "/opt/panda",
        "DISABLE_MM": "1",
        "LOGNAME": pwd.getpwuid(os.getuid()).pw_name,
    }


def hook_group() -> int | None:
    """The group to build as. In root's group the hook asks for the account atlpan, which only a node has."""
    return 65534 if os.getgid() == 0 and os.getuid() == 0 else None


def without_data(wheel: Path) -> None:
    """Take out of panda-server's wheel its templates of units, cron and configuration.

    They carry the paths and the account of the machine that built them; the role writes what a node needs.
    """
    with zipfile.ZipFile(wheel) as source:
        data = f"{'-'.join(wheel.name.split('-')[:2])}.data/"
        kept = {item: source.read(item) for item in source.infolist() if not item.filename.startswith(data)}
    temporary = wheel.with_suffix(".new")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as target:
        for item, content in kept.items():
            if item.filename.endswith(".dist-info/RECORD"):
                rows = [row for row in csv.reader(io.StringIO(content.decode())) if not row[0].startswith(data)]
                text = io.StringIO()
                csv.writer(text, lineterminator="\n").writerows(rows)
                content = text.getvalue().encode()
            target.writestr(item, content)
    temporary.replace(wheel)


def _assemble(app: Path, requirement: str, lock: Path, third_party: Path, folder: Path) -> None:
    wheels = folder / "wheels"
    shutil.copytree(third_party, wheels, copy_function=os.link)
    app_wheel = wheelhouse.build_app(app, wheels)
    entries = blocks(lock.read_text())
    for name in _without_wheel_names(third_party, entries):
        (wheel,) = [path for path in wheels.glob("*.whl") if normal(path.name.split("-")[0]) == name]
        entries[name] = wheelhouse.pin(wheel)
    entries["panda-node"] = wheelhouse.pin(app_wheel)
    version = next(path for path in wheels.glob("panda_server-*.whl")).name.split("-")[1]
    requirements = "".join(text for _, text in sorted(entries.items()))
    name = release_name(version, lock.read_text(), app_wheel)
    (wheels / "requirements.txt").write_text(requirements)
    release = {"name": name, "version": version, "payload": PACKAGE, "requirement": requirement}
    (wheels / "release.json").write_text(json.dumps(release) + "\n")
    archive = folder / f"{PACKAGE}-{name}.tar"
    wheelhouse.download(wheelhouse.INSTALLER, wheels)
    wheelhouse.pack(wheels, archive)
    shutil.copyfile(lock, folder / f"{PACKAGE}-{name}.lock")
    shutil.rmtree(wheels)


def release_name(version: str, lock: str, app_wheel: Path) -> str:
    """The name of a release: from what goes in, not from what was built. Two control machines give it one name.

    A lock's comments do not count: they say in which folder it was made.
    """
    identity = "".join(blocks(lock).values()) + wheelhouse.sha256(app_wheel.read_bytes())
    return f"{version}-{wheelhouse.sha256(identity.encode())[:10]}"


def _without_wheel_names(third_party: Path, entries: dict[str, str]) -> list[str]:
    """Entries whose wheel is not one of those that the lock knows: it was built here."""
    hashes = {normal(path.name.split("-")[0]): wheelhouse.sha256(path.read_bytes()) for path in third_party.iterdir()}
    return [name for name, text in entries.items() if hashes[normal(name)] not in text]


def normal(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _uv(*arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    if not uv.is_file():
        raise WheelhouseError(f"{uv} is missing; prepare the tools with `make venv`")
    wheelhouse.run(
        [str(uv), "pip", "compile", "--quiet", f"--python-version={wheelhouse.PYTHON_VERSION}",
         "--python-platform=x86_64-manylinux_2_34", *arguments],
        environment={"DISABLE_MM": "1"},
    )  # fmt: skip


def _forget_old(cache: Path) -> None:
    """Remove archives of this payload, and the wheels they were made from, beyond those that were used last."""
    for folders in ({path.parent for path in cache.glob(f"*/{PACKAGE}-*.tar")}, set(cache.glob("wheels-*"))):
        for folder in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
            shutil.rmtree(folder)
