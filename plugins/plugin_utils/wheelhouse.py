"""Build and check wheelhouse archives on the control machine.

A wheelhouse archive is a flat, uncompressed tar of wheels with `requirements.txt`, which pins each of
them by hash, `release.json`, which names the release, and the wheel of PyPA's installer, with which a node unpacks
the others. Beside it stands `<archive>.sha256`.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

# What pip may choose from for a node: EL9 has glibc 2.34, so wheels for newer ones are left out.
PLATFORMS = [
    *(f"manylinux_2_{minor}_x86_64" for minor in range(34, 16, -1)),
    "manylinux2014_x86_64",
    "manylinux2010_x86_64",
    "manylinux1_x86_64",
]
PYTHON_VERSION = "3.11"
INSTALLER = Path(__file__).resolve().parents[2] / "requirements" / "installer.txt"
"""Lock of what a node unpacks wheels with; it is no part of a release."""
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


class WheelhouseError(Exception):
    """The wheelhouse cannot be built or is not sound; the text names the remedy."""


@dataclass(frozen=True)
class Wheelhouse:
    """A wheelhouse archive on the control machine."""

    name: str
    """Name of the release: version and the first ten digits of the hash over its requirements."""
    archive: str
    checksum: str
    """SHA-256 of the archive."""
    payload: str = "bundled"
    """What serves the requests on a node that runs it."""
    requirement: str = ""
    """The public package that it was made of, a git reference with its commit; empty where there is none."""


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def read(archive: Path) -> Wheelhouse:
    """Check an archive against the checksum beside it and read its name.

    Raises WheelhouseError when the archive or its checksum file is missing, or when they disagree.
    """
    archive = archive.resolve()  # the same file, whatever folder a later reader takes a relative path from
    checksum_file = archive.with_name(archive.name + ".sha256")
    for path in (archive, checksum_file):
        if not path.is_file():
            raise WheelhouseError(f"{path}: no such file; make one with `make wheelhouse`")
    expected = checksum_file.read_text().split()[:1]
    found = sha256(archive.read_bytes())
    if expected != [found]:
        raise WheelhouseError(
            f"{archive}: its SHA-256 is {found}, and {checksum_file.name} says {''.join(expected) or 'nothing'}; "
            "copy both again or make them with `make wheelhouse`"
        )
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile("release.json")
            assert member is not None
            release = json.loads(member.read())
            name, payload, requirement = (
                str(release["name"]), str(release.get("payload", "bundled")), str(release.get("requirement", ""))
            )  # fmt: skip
    except (KeyError, TypeError, ValueError, tarfile.TarError) as error:
        raise WheelhouseError(f"{archive}: is not a wheelhouse archive: {error}") from error
    return Wheelhouse(name, str(archive), found, payload, requirement)


def build(app: Path, cache: Path) -> Wheelhouse:
    """Build the archive for the application in `app`, or take it from `cache` where its content is unchanged."""
    if not (app / "pyproject.toml").is_file():
        raise WheelhouseError(f"{app}: holds no application (pyproject.toml is missing)")
    folder = cache / fingerprint(app)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as temporary:
                made = Path(temporary) / "made"
                made.mkdir()
                _build(app, made)
                made.rename(folder)
    return read(next(folder.glob("*.tar")))


def fingerprint(app: Path) -> str:
    """Hash over all that decides what a wheelhouse holds."""
    digest = hashlib.sha256(f"2 {PYTHON_VERSION} {PLATFORMS}".encode() + INSTALLER.read_bytes())
    sources = [app / "pyproject.toml", app / "README.md", app / "requirements.lock", *sorted((app / "src").rglob("*"))]
    for path in sources:
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(app)}\0{sha256(path.read_bytes())}\0".encode())
    return digest.hexdigest()[:20]


def _build(app: Path, folder: Path) -> None:
    wheels = folder / "wheels"
    wheel = build_app(app, wheels)
    download(app / "requirements.lock", wheels)
    requirements = (app / "requirements.lock").read_text()
    requirements = "".join(line + "\n" for line in requirements.splitlines() if not re.match(r"\s*(#|$)", line))
    requirements += pin(wheel)
    version = wheel.name.split("-")[1]
    name = f"{version}-{sha256(requirements.encode())[:10]}"
    (wheels / "requirements.txt").write_text(requirements)
    (wheels / "release.json").write_text(json.dumps({"name": name, "version": version}) + "\n")
    archive = folder / f"panda-node-{name}.tar"
    download(INSTALLER, wheels)
    pack(wheels, archive)
    shutil.rmtree(wheels)


def build_app(app: Path, wheels: Path) -> Path:
    """Build the application's own wheel into a folder."""
    with tempfile.TemporaryDirectory() as copy:
        # A copy, so that a build leaves nothing behind in the checkout.
        source = Path(copy) / "app"
        shutil.copytree(app, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "tests", "build"))
        run([*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(source)])
    (wheel,) = wheels.glob("panda_node-*.whl")
    return wheel


def download(lock: Path, wheels: Path) -> None:
    """Fetch a wheel, for the nodes' platform and Python, of everything in a lock."""
    platforms = [f"--platform={platform}" for platform in PLATFORMS]
    run(
        [*PIP, "download", "--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:",
         f"--python-version={PYTHON_VERSION}", "--implementation=cp", *platforms,
         "--dest", str(wheels), "--requirement", str(lock)]
    )  # fmt: skip


def pin(wheel: Path) -> str:
    """The line of requirements.txt for a wheel that was built here."""
    distribution, version = wheel.name.split("-")[:2]
    return f"{distribution.replace('_', '-')}=={version} --hash=sha256:{sha256(wheel.read_bytes())}\n"


def pack(folder: Path, archive: Path) -> None:
    """Pack the files of a folder; the same files always give the same archive."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.iterdir()):
            data = path.read_bytes()
            member = tarfile.TarInfo(path.name)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    archive.with_name(archive.name + ".sha256").write_text(f"{sha256(archive.read_bytes())}  {archive.name}\n")


def run(command: list[str], environment: dict[str, str] | None = None, group: int | None = None) -> None:
    """Run a step of a build, whose failure ends it with what was said."""
    surroundings = {**os.environ, "PIP_NO_INPUT": "1", "SOURCE_DATE_EPOCH": "1577836800", **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=surroundings, group=group)
    if done.returncode != 0:
        raise WheelhouseError(
            f"building the wheelhouse failed: {' '.join(command[1:4])}: {done.stderr.strip() or done.stdout.strip()}"
        )
