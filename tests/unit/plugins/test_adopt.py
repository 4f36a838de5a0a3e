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

from .conftest import RunModule

pytestmark = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="nodes have Python 3.11")
NAME = "adopted-1.0.2"


class Node:
    """A folder that stands in for a node's /opt, with an environment as the public guide makes it."""

    def __init__(self, folder: Path, run_module: RunModule) -> None:
        self.root, self.link = folder / "panda.releases", folder / "panda"
        self.archive = folder / "panda-node.tar"
        self.run_module = run_module
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

    def by_hand(self, version: str = "1.0.2") -> None:
        subprocess.run([sys.executable, "-m", "venv", str(self.link)], check=True)
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
        return self.run_module("adopt", places, check=check)

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
    node.by_hand()
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


def test_what_cannot_be_adopted_is_left_alone(node: Node) -> None:
    assert "nothing to adopt" in node.adopt()["msg"]
    (node.link / "bin").mkdir(parents=True)
    assert "is no virtual environment" in node.adopt()["msg"]
    (node.link / "bin" / "python").write_text('#!/bin/sh\necho \'["0.3.0", "3.9.18 (main)"]\'\n')
    (node.link / "bin" / "python").chmod(0o755)
    assert "is made of Python 3.9.18, and panda-node needs 3.11" in node.adopt()["msg"]
    assert not node.root.exists()


def test_not_while_puppet_would_undo_it(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node.by_hand()
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "systemctl").write_text('#!/bin/sh\n[ "$1" = is-enabled ] && echo enabled\n')
    (programs / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert "puppet.service is enabled" in node.adopt()["msg"]
    assert not node.link.is_symlink()
