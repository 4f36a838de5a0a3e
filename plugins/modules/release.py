#!/usr/bin/python
"""Install, activate and record releases of the PanDA server on a node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Install, activate and record releases
description:
  - A release is one virtual environment in its own folder below I(root). It is made from a wheelhouse
    archive, which is checked against its hash, without a package index and without a compiler.
  - PyPA's C(installer), which the archive carries, unpacks and compiles the wheels, on all cores.
  - I(link) is a symbolic link to the active release and is switched in one step.
  - C(releases.json) in I(root) records which releases passed their health gate (C(good), the last one at the end,
    and C(last_good)), which failed it and why (C(bad)), and whether the node was taken back from one to another
    (C(rolled_back)).
  - A release folder without its C(release.json) was left by an interrupted run and is made anew.
options:
  state:
    description:
      - C(installed) makes the release beside the running one.
      - C(active) points I(link) to it. Where it brings a folder C(configuration), as one of another payload does, what
        stands at the paths I(configuration) is kept beside the release that is left, and replaced by what is in there;
        so it is put back when the node goes back.
      - C(good) records that it passed its health gate, and removes old releases beyond I(keep).
      - C(bad) records that it failed its health gate.
    type: str
    choices: [installed, active, good, bad]
    required: true
  name:
    description: Name of the release, as the wheelhouse archive states it.
    type: str
    required: true
  archive:
    description: The wheelhouse archive on the control machine; needed for C(installed), which sends it to the node.
    type: path
  checksum:
    description: SHA-256 of the archive; needed for C(installed).
    type: str
  python:
    description: Interpreter to make the virtual environment with.
    type: path
    default: /usr/bin/python3.11
  root:
    description: Folder of all releases.
    type: path
    default: /opt/panda.releases
  link:
    description: Link to the active release.
    type: path
    default: /opt/panda
  configuration:
    description: With C(active), the files that fit one payload and not another.
    type: list
    elements: path
    default: []
  keep:
    description:
      - How many releases to keep. The active and the last good one are always kept, and so is the good one before it
        if I(keep) is 2 or more.
    type: int
    default: 3
  rolled_back_from:
    description: With C(good), the release from which the node was taken back to this one.
    type: str
    default: ""
  why:
    description: With C(bad), what the health gate said.
    type: str
    default: ""
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Install the release beside the running one
  panda.provision.release:
    state: installed
    name: 1.0.0-0a1b2c3d4e
    archive: .cache/wheelhouse/panda-node-1.0.0-0a1b2c3d4e.tar
    checksum: 6ca13d52ca70c883e0f0bb101e425a89e8624de51db2d2392593af6a84118090

- name: Switch to the release
  panda.provision.release:
    state: active
    name: 1.0.0-0a1b2c3d4e
"""

RETURN = r"""
path:
  description: Folder of the release.
  type: str
  returned: always
removed:
  description: Names of the releases that were removed because newer ones replaced them.
  type: list
  elements: str
  returned: when state is good
"""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.panda.provision.plugins.module_utils.files import naming, replace

MARKER = "release.json"
RECORD = "releases.json"
BROUGHT = "configuration"


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step."""
    replace(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def copy(source: Path, target: Path) -> None:
    """Copy a file; its text is never readable with a wider mode than it ends with."""
    mode = source.stat().st_mode & 0o777
    with naming(target), os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(source.read_bytes())
        os.fchmod(file.fileno(), mode)


def payload(release: Path) -> str:
    """What serves the requests in a release; empty where there is none."""
    try:
        return str(json.loads((release / MARKER).read_text()).get("payload", "bundled"))
    except FileNotFoundError:
        return ""


def read_record(root: Path) -> dict[str, Any]:
    """The record of releases; an empty one where none was written yet."""
    try:
        record: dict[str, Any] = json.loads((root / RECORD).read_text())
    except FileNotFoundError:
        record = {}
    return {"good": [], "last_good": None, "bad": {}, **record}


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a wheelhouse archive; refuses members that are not plain files of one folder."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile() or member.name != os.path.basename(member.name):
                raise ValueError(f"{archive}: {member.name} has no place in a wheelhouse archive")
            source = tar.extractfile(member)
            assert source is not None
            path = folder / member.name
            with naming(path), source, path.open("wb") as target:
                shutil.copyfileobj(source, target)


class Release:
    """One release of one node."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.root = Path(module.params["root"])
        self.link = Path(module.params["link"])
        self.name: str = module.params["name"]
        self.path = self.root / self.name

    def run(self, *command: str) -> None:
        code, out, err = self.module.run_command(list(command), umask=0o022)
        if code != 0:
            shutil.rmtree(self.path, ignore_errors=True)
            self.module.fail_json(msg=f"{' '.join(command)} answered {code}: {(err or out).strip()}")

    def installed(self) -> bool:
        if (self.path / MARKER).is_file():
            return False
        if self.module.check_mode:
            return True
        archive = Path(self.module.params["archive"])
        found = sha256(archive)
        if found != self.module.params["checksum"]:
            self.module.fail_json(
                msg=f"{archive}: SHA-256 is {found}, expected {self.module.params['checksum']}; "
                "nothing was installed. Copy the wheelhouse again."
            )
        shutil.rmtree(self.path, ignore_errors=True)
        self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="wheelhouse-", dir=self.module.tmpdir) as folder:
            wheels = Path(folder)
            unpack(archive, wheels)
            manifest = json.loads((wheels / MARKER).read_text())
            if manifest["name"] != self.name:
                self.module.fail_json(msg=f"{archive}: holds release {manifest['name']}, not {self.name}")
            self.install(wheels)
        self.label()
        write_json(self.path / MARKER, manifest)
        archive.unlink()
        return True

    def install(self, wheels: Path) -> None:
        """Make the virtual environment, and unpack and compile each wheel of a folder into it, on all cores."""
        installer = next(wheels.glob("installer-*.whl"), None)
        if installer is None:
            raise ValueError(
                f"{self.module.params['archive']}: holds no installer-*.whl, so an older panda-provision made it; "
                "make the wheelhouse again"
            )
        self.run(self.module.params["python"], "-m", "venv", "--without-pip", str(self.path))
        command = [str(self.path / "bin/python"), "-m", "installer", "--overwrite-existing", "--compile-bytecode", "0"]

        def install(wheel: Path) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*command, str(wheel)], env={**os.environ, "PYTHONPATH": str(installer)}, umask=0o022,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            )  # fmt: skip

        # The largest first, so that the last core to finish has little left.
        pending = sorted(set(wheels.glob("*.whl")) - {installer}, key=lambda wheel: wheel.stat().st_size, reverse=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            failed = [(wheel, done) for wheel, done in zip(pending, pool.map(install, pending)) if done.returncode != 0]
        for wheel, done in failed:
            shutil.rmtree(self.path, ignore_errors=True)
            self.module.fail_json(msg=f"{wheel.name} cannot be installed: {done.stdout.strip()}")

    def label(self) -> None:
        """Give bin/ the label that the policy has for programs: by itself it has that of the folder above."""
        if self.module.selinux_enabled():
            self.run(self.module.get_bin_path("restorecon", required=True), "-R", str(self.path / "bin"))

    def active(self) -> bool:
        target = f"{self.root.name}/{self.name}" if self.root.parent == self.link.parent else str(self.path)
        linked = self.link.is_symlink() and os.readlink(self.link) == target
        brings = (self.path / BROUGHT).is_dir() and (linked or payload(self.path) != payload(self.link))
        if linked and not brings:
            return False
        if self.link.exists() and not self.link.is_symlink():
            self.module.fail_json(
                msg=f"{self.link} is a folder, not a link to a release: it was not made by this package. "
                f"Move it away (mv {self.link} {self.link}.old) and run again."
            )
        if not self.module.check_mode:
            if not (self.path / MARKER).is_file():
                self.module.fail_json(msg=f"{self.path} is not a complete release: install it first")
            if brings and not linked and self.link.is_symlink():
                self.keep_configuration(self.link.resolve())
            temporary = self.link.with_name(f".{self.link.name}.{os.getpid()}")
            temporary.symlink_to(target)
            temporary.replace(self.link)
            if brings:
                self.put_configuration()
            # Brought for a switch from another payload that never was made.
            shutil.rmtree(self.path / BROUGHT, ignore_errors=True)
        return True

    def keep_configuration(self, left: Path) -> None:
        """Keep what the node has beside the release that is left; all of it or nothing."""
        kept = left / f".{BROUGHT}.new"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(mode=0o755)
        for path in self.module.params["configuration"]:
            if os.path.isfile(path):
                place = Path(f"{kept}{path}")
                place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                copy(Path(path), place)
        shutil.rmtree(left / BROUGHT, ignore_errors=True)
        kept.rename(left / BROUGHT)

    def put_configuration(self) -> None:
        """Put what the release brings in its place. Its folder goes last: the next run completes an interrupted one."""
        for path in map(Path, self.module.params["configuration"]):
            brought = Path(f"{self.path / BROUGHT}{path}")
            if brought.is_file():
                temporary = path.with_name(f".{path.name}.{os.getpid()}")
                copy(brought, temporary)
                temporary.replace(path)
            else:
                path.unlink(missing_ok=True)

    def good(self) -> tuple[bool, list[str]]:
        record = read_record(self.root)
        wanted: dict[str, Any] = {
            "good": [name for name in record["good"] if name != self.name] + [self.name],
            "last_good": self.name,
            "bad": {name: why for name, why in record["bad"].items() if name != self.name},
        }
        if self.module.params["rolled_back_from"]:
            wanted["rolled_back"] = {"from": self.module.params["rolled_back_from"], "to": self.name}
        elif record.get("rolled_back", {}).get("to") == self.name:
            wanted["rolled_back"] = record["rolled_back"]
        old = self.superfluous(wanted)
        if record == wanted and not old:
            return False, []
        if not self.module.check_mode:
            wanted["good"] = [name for name in wanted["good"] if name not in old]
            wanted["bad"] = {name: why for name, why in wanted["bad"].items() if name not in old}
            write_json(self.root / RECORD, wanted)
            for name in old:
                shutil.rmtree(self.root / name)
        return True, old

    def bad(self) -> bool:
        record = read_record(self.root)
        if record["bad"].get(self.name) == self.module.params["why"]:
            return False
        record["bad"][self.name] = self.module.params["why"]
        record["good"] = [name for name in record["good"] if name != self.name]
        if record["last_good"] == self.name:
            record["last_good"] = record["good"][-1] if record["good"] else None
        if not self.module.check_mode:
            self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_json(self.root / RECORD, record)
        return True

    def superfluous(self, record: dict[str, Any]) -> list[str]:
        """Releases on disk beyond `keep`: the oldest first, never one that is in use or would be gone back to."""
        if not self.root.is_dir():
            return []
        folders = sorted((path for path in self.root.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        held = {*record["good"][-min(self.module.params["keep"], 2) :], os.path.basename(os.path.realpath(self.link))}
        candidates = [path.name for path in folders if path.name not in held]
        excess = len(folders) - max(self.module.params["keep"], len(held))
        return candidates[: max(excess, 0)]


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["installed", "active", "good", "bad"], "required": True},
            "name": {"type": "str", "required": True},
            "archive": {"type": "path"},
            "checksum": {"type": "str"},
            "python": {"type": "path", "default": "/usr/bin/python3.11"},
            "root": {"type": "path", "default": "/opt/panda.releases"},
            "link": {"type": "path", "default": "/opt/panda"},
            "configuration": {"type": "list", "elements": "path", "default": []},
            "keep": {"type": "int", "default": 3},
            "rolled_back_from": {"type": "str", "default": ""},
            "why": {"type": "str", "default": ""},
        },
        required_if=[("state", "installed", ("archive", "checksum"))],
        supports_check_mode=True,
    )
    release = Release(module)
    result: dict[str, Any] = {"path": str(release.path)}
    try:
        if module.params["state"] == "installed":
            result["changed"] = release.installed()
        elif module.params["state"] == "active":
            result["changed"] = release.active()
        elif module.params["state"] == "bad":
            result["changed"] = release.bad()
        else:
            result["changed"], result["removed"] = release.good()
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}", **result)
    except (ValueError, tarfile.TarError) as error:
        module.fail_json(msg=str(error), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
