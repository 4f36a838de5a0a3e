#!/usr/bin/python
"""Take over a PanDA server that was installed by other means, as the release to go back to."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt
short_description: Take over a PanDA server that was installed by other means
description:
  - Looks at a node that was set up by hand or by Puppet, and makes the folder I(link) the first release in I(root).
    It is moved there and I(link) becomes a link to it, so that every path in it stays valid and what runs goes on.
  - Refused, all faults in one report, while Puppet runs or would be started, where the environment is made of another
    Python, has a panda-server that C(panda-node) does not run, or lies on another file system, where I(link) leads
    out of I(root), and while a unit of I(unwanted) runs.
  - C(panda-node) and what runs it are put beside it, in a folder of their own, from the wheelhouse archive I(archive);
    nothing in the virtual environment itself is changed. So it can be gone back to like any other release.
  - An interrupted run is completed by the next.
options:
  archive: {description: Wheelhouse archive of the bundled application on the node., type: path, required: true}
  link: {description: The virtual environment., type: path, default: /opt/panda}
  root: {description: Folder of all releases., type: path, default: /opt/panda.releases}
  unwanted:
    description: Units that provisioning would stop and remove, each with the setting that keeps it.
    type: dict
    default: {}
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Take over what runs
  panda.provision.adopt:
    archive: /var/tmp/panda-node-1.0.0-0a1b2c3d4e.tar
    unwanted: {panda_jedi.service: "panda_server_jedi_enabled: true"}
"""

RETURN = r"""
name: {description: Name of the release., type: str, returned: success}
version: {description: The installed panda-server., type: str, returned: success}
units:
  description: Units of PanDA, with where each comes from, whether it runs, and what becomes of it.
  type: dict
  returned: success
"""

import json
import os
import re
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.panda.provision.plugins.module_utils.files import naming, replace
from ansible_collections.panda.provision.plugins.module_utils.node import (
    OLD_UNITS,
    puppet,
    starting,
    unit_properties,
)

UNITS = ["panda.service", "panda_httpd.service", "panda_daemon.service", "panda_jedi.service", "panda_mcp.service"]
BESIDE = "panda-node"
PROGRAMS = ("panda-node", "gunicorn")
LOWEST = (1, 0)
"""The first panda-server whose modules are called as they are in the tested ones; older ones were not tried."""
ASK = (
    "import json, sys; from importlib.metadata import distributions as found; "
    "print(json.dumps([next((one.version for one in found(name='panda-server')), ''), sys.version]))"
)


class Adoption:
    """The server on this node, and what it is to become."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.link, self.root = Path(module.params["link"]), Path(module.params["root"])
        self.unwanted: dict[str, str] = module.params["unwanted"]

    def run(self, *command: str) -> str:
        code, out, err = self.module.run_command(list(command), umask=0o022)
        if code != 0:
            self.module.fail_json(msg=f"{' '.join(command[:4])} answered {code}: {(err or out).strip()}")
        return str(out)

    def interrupted(self) -> str:
        """The release that a run before this one moved and did not link to; empty where there is none."""
        if self.link.exists() or self.link.is_symlink() or not self.root.is_dir():
            return ""
        return next((path.name for path in self.root.glob("adopted-*") if (path / "release.json").is_file()), "")

    def linked(self) -> str:
        """The release that the link leads to."""
        target = self.link.resolve()
        if not target.exists():
            self.refuse([f"{self.link} leads to {target}, where nothing is: remove the link (rm {self.link})"])
        if target.parent != self.root.resolve():
            self.refuse([
                f"{self.link} is a link to {target}, which is not in {self.root}: on the drained node move the "
                f"environment to {self.link}, leave a link in its place "
                f"(rm {self.link} && mv {target} {self.link} && ln -s {self.link} {target}), and run this again"
            ])  # fmt: skip
        return target.name

    def look(self) -> str:
        """The version of the environment; refuses what cannot be run as a release."""
        python = self.link / "bin" / "python"
        if not python.exists():
            self.refuse([f"{self.link}: is no virtual environment: there is no {python}"])
        version, runs = json.loads(self.run(str(python), "-c", ASK))
        away = f"move it away (mv {self.link} {self.link}.old) and provision the node as a new one"
        found = []
        if not runs.startswith("3.11."):
            found.append(
                f"{self.link} is made of Python {runs.split()[0]}, and panda-node needs 3.11, as ATLAS runs it: {away}"
            )
        numbers = re.match(r"(\d+)\.(\d+)", version)
        if not numbers or tuple(map(int, numbers.groups())) < LOWEST:
            found.append(
                f"{self.link} has {f'panda-server {version}' if version else 'no panda-server'}, and panda-node runs "
                f"{'.'.join(map(str, LOWEST))} or newer: bring it to that as it was installed, or {away}"
            )
        parent = self.root if self.root.is_dir() else self.root.parent
        if os.stat(parent).st_dev != os.stat(self.link).st_dev:
            found.append(
                f"{self.root} is on another file system than {self.link}: set panda_server_releases to a folder "
                "beside it, so that it can be moved in one step"
            )
        found += [
            f"{unit} is {said}, and provisioning would stop and remove it: set {self.unwanted[unit]} for this node, or "
            f"turn it off first (systemctl disable --now {unit})"
            for unit, said in starting(self.module, list(self.unwanted)).items()
        ]
        self.refuse(found)
        return str(version)

    def refuse(self, faults: list[str]) -> None:
        """Ends the run where there are faults, or where Puppet would undo what it does."""
        faults = faults + [
            f"Puppet would undo what is done here: {said}; take PanDA's files out of its catalogue too"
            for said in puppet(self.module)
        ]
        if faults:
            lines = [f"{self.link} is not taken over: nothing was changed. To mend first ({len(faults)}):"]
            lines += [f"{number:3}. {fault}" for number, fault in enumerate(faults, 1)]
            self.module.fail_json(msg="\n".join(lines))

    def units(self) -> dict[str, str]:
        """Units of PanDA that are there, and what becomes of each."""
        properties = ("Id", "LoadState", "FragmentPath", "SourcePath", "ActiveState", "DropInPaths")
        found = {}
        for unit, block in unit_properties(self.module, UNITS + OLD_UNITS, properties).items():
            path = block.get("SourcePath") or block.get("FragmentPath")
            if path:
                will = "is written anew by provisioning"
                if unit in self.unwanted:
                    will = "is stopped and removed by provisioning"
                elif unit in OLD_UNITS:
                    will = "has to be stopped and disabled before provisioning"
                found[unit] = f"{path}, {block.get('ActiveState')}: {will}"
                if block.get("DropInPaths"):
                    found[unit] += f"; stays in force: {block['DropInPaths']}"
        return found

    def put_beside(self, name: str) -> None:
        """panda-node and all that it needs in a folder of their own, which the environment looks into last."""
        beside = self.link / BESIDE
        shutil.rmtree(beside, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="wheelhouse-", dir=self.module.tmpdir) as folder:
            with tarfile.open(self.module.params["archive"]) as tar:
                for member in tar:
                    source = tar.extractfile(member)
                    assert source is not None
                    path = Path(folder) / os.path.basename(member.name)
                    with naming(path):
                        path.write_bytes(source.read())
            self.run(
                str(self.link / "bin" / "python"), "-m", "pip", "install", "--no-index", "--find-links", folder,
                "--require-hashes", "--no-deps", "--quiet", "--disable-pip-version-check", "--no-cache-dir",
                "--root-user-action", "ignore", "--target", str(beside),
                "--requirement", str(Path(folder) / "requirements.txt"),
            )  # fmt: skip
        (site,) = self.link.glob("lib/python3.*/site-packages")
        # Relative, so that it holds wherever the folder is; the environment's own packages come first.
        replace(site / f"{BESIDE}.pth", os.path.relpath(beside, site) + "\n")
        for program in PROGRAMS:
            lines = (beside / "bin" / program).read_text().splitlines()
            script = self.link / "bin" / program
            # By its place among the releases: the link may lead to another one when it is tried.
            replace(script, "\n".join([f"#!{self.root / name}/bin/python", *lines[1:]]) + "\n")
            script.chmod(0o755)

    def known(self) -> dict[str, Any]:
        """The record of releases, as the module release keeps it."""
        known: dict[str, Any] = {"good": [], "last_good": None, "bad": {}}
        path = self.root / "releases.json"
        if path.is_file():
            known.update(json.loads(path.read_text()))
        return known

    def record(self, name: str) -> None:
        """As the module release does: the release to go back to."""
        path, known = self.root / "releases.json", self.known()
        if name not in known["good"]:
            known["good"] = [*known["good"], name]
            known["last_good"] = known["last_good"] or name
            replace(path, json.dumps(known, indent=2, sort_keys=True) + "\n")

    def point_to(self, name: str) -> None:
        target = f"{self.root.name}/{name}" if self.root.parent == self.link.parent else str(self.root / name)
        self.link.symlink_to(target)

    def adopt(self) -> dict[str, Any]:
        if self.link.is_symlink():
            name = self.linked()
            known = self.known()
            if name.startswith("adopted-") and name not in [*known["good"], *known["bad"]]:
                return self.complete(name)
            return {"changed": False, "name": name, "version": "", "units": self.units()}
        if name := self.interrupted():
            return self.complete(name)
        if not self.link.is_dir():
            self.refuse([f"{self.link}: there is nothing to adopt; provision the node"])
        version = self.look()
        name = f"adopted-{version}"
        if not self.module.check_mode:
            self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
            self.put_beside(name)
            manifest = {"name": name, "version": version, "payload": "panda-server", "adopted": True}
            replace(self.link / "release.json", json.dumps(manifest) + "\n")
            self.link.rename(self.root / name)
            self.point_to(name)
            self.record(name)
        return {"changed": True, "name": name, "version": version, "units": self.units()}

    def complete(self, name: str) -> dict[str, Any]:
        """What a run before this one left undone."""
        self.refuse([])
        if not self.module.check_mode:
            if not self.link.is_symlink():
                self.point_to(name)
            self.record(name)
        return {"changed": True, "name": name, "version": name.partition("-")[2], "units": self.units()}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "archive": {"type": "path", "required": True},
            "link": {"type": "path", "default": "/opt/panda"},
            "root": {"type": "path", "default": "/opt/panda.releases"},
            "unwanted": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**Adoption(module).adopt())
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    except (ValueError, tarfile.TarError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
