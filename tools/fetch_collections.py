"""Put the collections of requirements.yml into .cache/collections.

From Galaxy where it answers, else out of the PyPI package `ansible`, which carries them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import yaml
from ansible import constants

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements.yml"
WHEEL_LOCK = ROOT / "requirements" / "collections.txt"
TARGET = ROOT / ".cache" / "collections"
PROBE_SECONDS = 4


def wanted_versions() -> dict[str, str]:
    """Return collection name -> pinned version from requirements.yml."""
    entries = yaml.safe_load(REQUIREMENTS.read_text(encoding="utf-8"))["collections"]
    return {entry["name"]: entry["version"] for entry in entries}


def galaxy_answers() -> bool:
    """Say whether the configured Galaxy server answers within a few seconds."""
    server = str(constants.config.get_config_value("GALAXY_SERVER")).rstrip("/")
    try:
        with urllib.request.urlopen(f"{server}/api/", timeout=PROBE_SECONDS) as answer:
            return bool(answer.status == 200 and "available_versions" in json.load(answer))
    except (urllib.error.URLError, OSError, ValueError):
        return False


def install_from_galaxy(target: Path) -> None:
    """Let ansible-galaxy install the pinned collections into `target`."""
    subprocess.run(
        [
            Path(sys.executable).with_name("ansible-galaxy"),
            *("collection", "install", "--no-cache", "--requirements-file", REQUIREMENTS),
            *("--collections-path", target),
        ],
        check=True,
    )


def install_from_wheel(target: Path, names: list[str]) -> None:
    """Unpack the named collections out of the hash-pinned wheel of `ansible`."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--require-hashes", "--only-binary", ":all:"),
                *("--requirement", WHEEL_LOCK, "--dest", directory),
            ],
            check=True,
        )
        (wheel,) = Path(directory).glob("ansible-*.whl")
        prefixes = tuple(f"ansible_collections/{name.replace('.', '/')}/" for name in names)
        with zipfile.ZipFile(wheel) as archive:
            members = [member for member in archive.namelist() if member.startswith(prefixes)]
            archive.extractall(target, members)


def installed_version(target: Path, name: str) -> str:
    """Return the version of an installed collection, or 'absent'."""
    manifest = target / "ansible_collections" / Path(*name.split(".")) / "MANIFEST.json"
    if not manifest.is_file():
        return "absent"
    return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])


def main() -> None:
    """Fetch into a fresh directory, check the versions, then put it in place."""
    wanted = wanted_versions()
    fresh = TARGET.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    if galaxy_answers():
        print("collections: from Galaxy")
        install_from_galaxy(fresh)
    else:
        print("collections: Galaxy does not answer, taking them from the PyPI package `ansible`")
        install_from_wheel(fresh, list(wanted))

    for name, version in wanted.items():
        if (got := installed_version(fresh, name)) != version:
            sys.exit(
                f"collections: {name} is {got}, but requirements.yml pins {version}; "
                f"make requirements.yml and {WHEEL_LOCK.relative_to(ROOT)} agree"
            )
    shutil.rmtree(TARGET, ignore_errors=True)
    fresh.rename(TARGET)


if __name__ == "__main__":
    main()
