#!/usr/bin/python
"""Take over a PanDA server that was installed by other means, as the release to go back to."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt
short_description: Take over a PanDA server that was installed by other means
description:
  - Looks at a node that was set up by hand or by Puppet, and makes the folder I(link) the first release in I(root).
    It is moved there and I(link) becomes a link to it, so that every path in it stays valid and what runs goes on.
  - C(panda-node) and what runs it are put beside it, in a folder of their own, from the wheelhouse archive I(archive);
    nothing in the virtual environment itself is changed. So it can be gone back to like any other release.
  - An interrupted run is completed by the next. Nothing is done while a Puppet agent is enabled.
options:
  archive: {description: Wheelhouse archive of the bundled application on the node., type: path, required: true}
  link: {description: The virtual environment., type: path, default: /opt/panda}
  root: {description: Folder of all releases., type: path, default: /opt/panda.releases}
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Take over what runs
  panda.provision.adopt:
    archive: /var/tmp/panda-node-1.0.0-0a1b2c3d4e.tar
"""

RETURN = r"""
name: {description: Name of the release., type: str, returned: success}
version: {description: The installed panda-server., type: str, returned: success}
units: {description: Units of PanDA and where each comes from., type: dict, returned: success}
"""

import json
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

UNITS = ("panda.service", "panda_httpd.service", "panda_daemon.service", "panda_jedi.service", "httpd-pandasrv.service")
BESIDE = "panda-node"
PROGRAMS = ("panda-node", "gunicorn")
ASK = (
    "import json, sys; from importlib.metadata import version; "
    "print(json.dumps([version('panda-server'), sys.version]))"
)


class Adoption:
    """The server on this node, and what it is to become."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.link, self.root = Path(module.params["link"]), Path(module.params["root"])

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

    def version(self) -> str:
        python = self.link / "bin" / "python"
        if not python.exists():
            self.module.fail_json(
                msg=f"{self.link}: is no virtual environment: there is no {python}. Nothing was changed."
            )
        version, runs = json.loads(self.run(str(python), "-c", ASK))
        if not runs.startswith("3.11."):
            self.module.fail_json(
                msg=f"{self.link} is made of Python {runs.split()[0]}, and panda-node needs 3.11, as ATLAS runs it: it "
                f"cannot be adopted. Move it away (mv {self.link} {self.link}.old) and provision the node. "
                "Nothing was changed."
            )
        return str(version)

    def refuse(self) -> None:
        _, state, _ = self.module.run_command(["systemctl", "is-enabled", "puppet.service"])
        if state.strip() == "enabled":
            self.module.fail_json(
                msg="puppet.service is enabled and would undo what is done here: take PanDA's files out of its "
                "catalogue and disable it. Nothing was changed."
            )
        parent = self.root if self.root.is_dir() else self.root.parent
        if os.stat(parent).st_dev != os.stat(self.link).st_dev:
            self.module.fail_json(
                msg=f"{self.root} is on another file system than {self.link}: set panda_server_releases to a folder "
                "beside it, so that it can be moved in one step. Nothing was changed."
            )

    def units(self) -> dict[str, str]:
        """Units of PanDA that are there, with the file that each comes from."""
        found = {}
        for unit in UNITS:
            _, path, _ = self.module.run_command(["systemctl", "show", "--value", "--property=FragmentPath", unit])
            if path.strip():
                found[unit] = path.strip()
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
                    (Path(folder) / os.path.basename(member.name)).write_bytes(source.read())
            self.run(
                str(self.link / "bin" / "python"), "-m", "pip", "install", "--no-index", "--find-links", folder,
                "--require-hashes", "--no-deps", "--quiet", "--disable-pip-version-check", "--no-cache-dir",
                "--root-user-action", "ignore", "--target", str(beside),
                "--requirement", str(Path(folder) / "requirements.txt"),
            )  # fmt: skip
        (site,) = self.link.glob("lib/python3.*/site-packages")
        # Relative, so that it holds wherever the folder is; the environment's own packages come first.
        (site / f"{BESIDE}.pth").write_text(os.path.relpath(beside, site) + "\n")
        for program in PROGRAMS:
            lines = (beside / "bin" / program).read_text().splitlines()
            script = self.link / "bin" / program
            # By its place among the releases: the link may lead to another one when it is tried.
            script.write_text("\n".join([f"#!{self.root / name}/bin/python", *lines[1:]]) + "\n")
            script.chmod(0o755)

    def record(self, name: str) -> None:
        """As the module release does: the release to go back to."""
        path = self.root / "releases.json"
        known: dict[str, Any] = {"good": [], "last_good": None, "bad": {}}
        if path.is_file():
            known.update(json.loads(path.read_text()))
        if name not in known["good"]:
            known["good"] = [*known["good"], name]
            known["last_good"] = known["last_good"] or name
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            temporary.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
            temporary.replace(path)

    def point_to(self, name: str) -> None:
        target = f"{self.root.name}/{name}" if self.root.parent == self.link.parent else str(self.root / name)
        self.link.symlink_to(target)

    def adopt(self) -> dict[str, Any]:
        if name := self.interrupted():
            if not self.module.check_mode:
                self.point_to(name)
                self.record(name)
            return {"changed": True, "name": name, "version": name.partition("-")[2], "units": self.units()}
        if self.link.is_symlink():
            name = os.path.basename(os.readlink(self.link))
            return {"changed": False, "name": name, "version": "", "units": self.units()}
        if not self.link.is_dir():
            self.module.fail_json(
                msg=f"{self.link}: there is nothing to adopt; provision the node. Nothing was changed."
            )
        version = self.version()
        self.refuse()
        name = f"adopted-{version}"
        if not self.module.check_mode:
            self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
            self.put_beside(name)
            manifest = {"name": name, "version": version, "payload": "panda-server", "adopted": True}
            (self.link / "release.json").write_text(json.dumps(manifest) + "\n")
            self.link.rename(self.root / name)
            self.point_to(name)
            self.record(name)
        return {"changed": True, "name": name, "version": version, "units": self.units()}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "archive": {"type": "path", "required": True},
            "link": {"type": "path", "default": "/opt/panda"},
            "root": {"type": "path", "default": "/opt/panda.releases"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**Adoption(module).adopt())
    except (OSError, ValueError, tarfile.TarError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
