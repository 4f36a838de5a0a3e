"""A virtual environment that somebody made becomes the release to go back to."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils import wheelhouse

from .conftest import RunModule, Systemd

pytestmark = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="nodes have Python 3.11")
NAME = "adopted-1.0.2"


class Node:
    """A folder that stands in for a node's /opt, with an environment as the public guide makes it."""

    def __init__(self, folder: Path, run_module: RunModule) -> None:
        self.root, self.link = folder / "panda.releases", folder / "panda"
        self.archive = folder / "panda-node.tar"
        self.run_module = run_module
        self.unwanted: dict[str, str] = {}
        wheels = folder / "wheels"
        wheels.mkdir()
        wheel = wheels / "panda_node-0.1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("panda_node.py", "import sys\ndef main():\n    print('panda-node', sys.prefix)\n")
            # Both know this module: what the environment has comes first.
            archive.writestr("shared.py", "FROM = 'beside'\n")
            info = "panda_node-0.1.0.dist-info"
            archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: panda-node\nVersion: 0.1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            scripts = "[console_scripts]\npanda-node = panda_node:main\ngunicorn = panda_node:main\n"
            archive.writestr(f"{info}/entry_points.txt", scripts)
            archive.writestr(f"{info}/RECORD", "")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (wheels / "requirements.txt").write_text(f"panda-node==0.1.0 --hash=sha256:{digest}\n")
        (wheels / "release.json").write_text('{"name": "0.1.0-x"}')
        wheelhouse.pack(wheels, self.archive)

    def by_hand(self, version: str = "1.0.2", *, only_look: bool = False) -> None:
        """Make the environment; without its pip, which takes seconds, where it is only looked at."""
        options = ["--without-pip"] if only_look else []
        subprocess.run([sys.executable, "-m", "venv", *options, str(self.link)], check=True)
        (site,) = self.link.glob("lib/python3.*/site-packages")
        info = site / f"panda_server-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: panda-server\nVersion: {version}\n")
        (site / "shared.py").write_text("FROM = 'by hand'\n")
        script = self.link / "bin" / "prun"
        script.write_text(f"#!{self.link}/bin/python\nimport shared\nprint(shared.FROM)\n")
        script.chmod(0o755)

    def adopt(self, check: bool = False) -> dict[str, Any]:
        places = {"link": str(self.link), "root": str(self.root), "archive": str(self.archive)}
        return self.run_module("adopt", {**places, "unwanted": self.unwanted}, check=check)

    def says(self, path: Path) -> str:
        return subprocess.check_output([path], text=True).strip()


@pytest.fixture
def node(tmp_path: Path, run_module: RunModule) -> Node:
    return Node(tmp_path, run_module)


def test_it_moves_among_the_releases_and_every_path_in_it_stays_valid(node: Node) -> None:
    node.by_hand()
    done = node.adopt()
    assert done.get("msg") is None, done
    assert (done["changed"], done["name"], done["version"]) == (True, NAME, "1.0.2")
    assert os.readlink(node.link) == f"panda.releases/{NAME}"
    assert node.says(node.link / "bin" / "prun") == "by hand"
    record = json.loads((node.root / "releases.json").read_text())
    assert (record["good"], record["last_good"]) == ([NAME], NAME)
    assert json.loads((node.root / NAME / "release.json").read_text())["payload"] == "panda-server"
    assert not node.adopt()["changed"]


def test_panda_node_runs_in_it_wherever_the_link_leads(node: Node, tmp_path: Path) -> None:
    node.by_hand()
    node.adopt()
    node.link.unlink()
    node.link.symlink_to(tmp_path)
    for program in ("panda-node", "gunicorn"):
        assert node.says(node.root / NAME / "bin" / program) == f"panda-node {node.root / NAME}"


def test_a_look_changes_nothing(node: Node) -> None:
    node.by_hand(only_look=True)
    before = sorted(str(path) for path in node.link.rglob("*"))
    would = node.adopt(check=True)
    assert (would["changed"], would["name"]) == (True, NAME)
    assert sorted(str(path) for path in node.link.rglob("*")) == before
    assert not node.root.exists()


def test_a_run_that_was_interrupted_before_the_link_is_completed(node: Node) -> None:
    node.by_hand()
    node.adopt()
    node.link.unlink()
    (node.root / "releases.json").unlink()
    assert node.adopt()["changed"]
    assert node.says(node.link / "bin" / "prun") == "by hand"
    assert json.loads((node.root / "releases.json").read_text())["last_good"] == NAME


def test_a_run_that_was_interrupted_before_the_record_is_completed(node: Node) -> None:
    node.by_hand()
    node.adopt()
    (node.root / "releases.json").unlink()
    assert node.adopt(check=True)["changed"]
    assert not (node.root / "releases.json").exists()
    assert node.adopt()["changed"]
    assert json.loads((node.root / "releases.json").read_text())["good"] == [NAME]
    assert not node.adopt()["changed"]


def test_a_release_that_failed_its_gate_is_not_recorded_as_good_again(node: Node) -> None:
    node.by_hand()
    node.adopt()
    record = json.dumps({"good": [], "last_good": None, "bad": {NAME: "not alive"}})
    (node.root / "releases.json").write_text(record)
    assert not node.adopt()["changed"]
    assert (node.root / "releases.json").read_text() == record


def test_a_release_of_this_package_is_left_as_it_is(node: Node) -> None:
    (node.root / "1.0.0-x").mkdir(parents=True)
    node.link.symlink_to(f"{node.root.name}/1.0.0-x")
    answer = node.adopt()
    assert (answer["changed"], answer["name"]) == (False, "1.0.0-x")
    assert not (node.root / "releases.json").exists()


def test_a_link_out_of_the_releases_is_refused_and_the_remedy_works(node: Node, tmp_path: Path) -> None:
    node.by_hand()
    place = tmp_path / "data" / "panda-venv"
    place.parent.mkdir()
    node.link.rename(place)
    node.link.symlink_to(place)
    said = node.adopt()["msg"]
    assert f"{node.link} is a link to {place}, which is not in {node.root}" in said
    remedy = said[said.index("(rm ") + 1 : said.index(f" {place})")] + f" {place}"
    subprocess.run(["sh", "-e", "-c", remedy], check=True)
    assert node.adopt()["name"] == NAME
    assert node.says(place / "bin" / "prun") == "by hand"


def test_a_link_to_nothing_is_refused(node: Node) -> None:
    node.link.symlink_to("panda.releases/gone")
    assert f"where nothing is: remove the link (rm {node.link})" in node.adopt()["msg"]


def test_what_cannot_be_adopted_is_left_alone(node: Node) -> None:
    assert "nothing to adopt" in node.adopt()["msg"]
    (node.link / "bin").mkdir(parents=True)
    assert "is no virtual environment" in node.adopt()["msg"]
    (node.link / "bin" / "python").write_text('#!/bin/sh\necho \'["0.3.0", "3.9.18 (main)"]\'\n')
    (node.link / "bin" / "python").chmod(0o755)
    said = node.adopt()["msg"]
    assert "nothing was changed. To mend first (2):" in said
    assert "is made of Python 3.9.18, and panda-node needs 3.11" in said
    assert "has panda-server 0.3.0, and panda-node runs 1.0 or newer: bring it to that" in said
    assert not node.root.exists()


@pytest.mark.parametrize(
    ("version", "taken"),
    [("0.8.1", False), ("0.99.0", False), ("unknown", False), ("1.0.0", True), ("1.0.3.dev0", True), ("1.10.0", True)],
)
def test_no_older_server_is_taken_than_the_units_can_run(node: Node, version: str, taken: bool) -> None:
    node.by_hand(version, only_look=True)
    answer = node.adopt(check=True)
    assert ("msg" in answer) != taken
    if not taken:
        assert f"has panda-server {version}, and panda-node runs 1.0 or newer" in answer["msg"]


def test_an_environment_without_the_server_is_refused(node: Node) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(node.link)], check=True)
    assert "has no panda-server, and panda-node runs 1.0 or newer" in node.adopt()["msg"]


def test_not_while_puppet_would_undo_it_nor_the_rest_of_an_interrupted_run(node: Node, systemd: Systemd) -> None:
    puppet = {"puppet.service": {"UnitFileState": "disabled", "ActiveState": "active"}}
    refusal = "Puppet would undo what is done here: puppet.service is active (systemctl disable --now"
    node.by_hand()
    systemd(**puppet)
    assert refusal in node.adopt()["msg"]
    assert not node.link.is_symlink()
    systemd()
    node.adopt()
    systemd(**puppet)
    assert not node.adopt()["changed"]
    (node.root / "releases.json").unlink()
    assert refusal in node.adopt()["msg"]
    node.link.unlink()
    assert refusal in node.adopt()["msg"]
    assert not node.link.is_symlink()


def test_what_provisioning_would_stop_is_refused_while_it_runs_and_named_otherwise(
    node: Node, systemd: Systemd
) -> None:
    node.by_hand(only_look=True)
    state = {"FragmentPath": "/usr/lib/systemd/system/panda_jedi.service", "UnitFileState": "disabled"}
    node.unwanted = {"panda_jedi.service": "panda_server_jedi_enabled: true"}
    systemd(**{"panda_jedi.service": {**state, "ActiveState": "active"}})
    said = node.adopt()["msg"]
    assert "panda_jedi.service is active, and provisioning would stop and remove it: set" in said
    assert "set panda_server_jedi_enabled: true for this node" in said
    systemd(**{"panda_jedi.service": {**state, "ActiveState": "inactive"}})
    units = node.adopt(check=True)["units"]
    assert units == {"panda_jedi.service": f"{state['FragmentPath']}, inactive: is stopped and removed by provisioning"}
    node.unwanted = {}
    systemd(**{"panda_jedi.service": {**state, "ActiveState": "active"}})
    assert node.adopt(check=True)["changed"]


def test_each_unit_is_told_with_what_becomes_of_it(node: Node, systemd: Systemd) -> None:
    node.by_hand(only_look=True)
    systemd(
        **{
            "panda_httpd.service": {
                "FragmentPath": "/etc/systemd/system/panda_httpd.service",
                "ActiveState": "active",
                "DropInPaths": "/etc/systemd/system/panda_httpd.service.d/site.conf",
            },
            "httpd-pandasrv.service": {
                "SourcePath": "/etc/rc.d/init.d/httpd-pandasrv",
                "FragmentPath": "/run/systemd/generator.late/httpd-pandasrv.service",
                "ActiveState": "inactive",
                "UnitFileState": "generated",
                "WantedBy": "multi-user.target",
            },
        }
    )
    assert node.adopt(check=True)["units"] == {
        "panda_httpd.service": "/etc/systemd/system/panda_httpd.service, active: is written anew by provisioning; "
        "stays in force: /etc/systemd/system/panda_httpd.service.d/site.conf",
        "httpd-pandasrv.service": "/etc/rc.d/init.d/httpd-pandasrv, inactive: has to be stopped and disabled before "
        "provisioning",
    }
