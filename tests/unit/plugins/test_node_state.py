"""The module node_state takes a node out of service and brings back only what it took out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import RunModule


class Node:
    """A folder that stands in for a node's /etc, and the module at work in it."""

    def __init__(self, folder: Path, run_module: RunModule) -> None:
        self.state_file = folder / "node_state"
        self.record_file = folder / "drain.json"
        self.nologin = folder / "iss.nologin"
        self.run_module = run_module
        self.state_file.write_text("production\n")

    def run(self, state: str, *by: str, check: bool = False, files: bool = False) -> dict[str, Any]:
        places = {"state_file": str(self.state_file), "record": str(self.record_file)}
        wanted = {"files": [str(self.nologin)]} if files else {}
        return self.run_module("node_state", {"state": state, "by": list(by), **places, **wanted}, check=check)

    @property
    def state(self) -> str:
        return self.state_file.read_text().strip()


@pytest.fixture
def node(tmp_path: Path, run_module: RunModule) -> Node:
    return Node(tmp_path, run_module)


def test_a_node_in_production_is_drained_and_brought_back(node: Node) -> None:
    drained = node.run("drained", "upgrade", files=True)
    assert (drained["changed"], drained["ours"], drained["drained_by"]) == (True, True, "upgrade")
    assert node.state == "draining"
    assert node.nologin.exists()
    assert json.loads(node.record_file.read_text())["by"] == "upgrade"
    assert not node.run("drained", "upgrade", files=True)["changed"]

    back = node.run("in_service", "upgrade", "rollback")
    assert (back["changed"], back["ours"], back["drained_by"]) == (True, True, "")
    assert node.state == "production"
    assert not node.nologin.exists()
    assert not node.record_file.exists()
    again = node.run("in_service", "upgrade")
    assert (again["changed"], again["in_service"]) == (False, True)


def test_a_node_that_an_operator_drained_stays_the_operators(node: Node) -> None:
    node.run("drained", "drain")
    upgrade = node.run("drained", "upgrade")
    assert (upgrade["changed"], upgrade["ours"], upgrade["drained_by"]) == (False, False, "drain")
    kept = node.run("in_service", "upgrade")
    assert (kept["changed"], kept["in_service"]) == (False, False)
    assert node.state == "draining"
    # Though the word was changed by hand since, the drain files are there still.
    node.state_file.write_text("production\n")
    assert not node.run("in_service", "upgrade")["in_service"]


@pytest.mark.parametrize("state", ["maintenance", "draining"])
def test_a_state_set_by_hand_is_left_alone(node: Node, state: str) -> None:
    node.state_file.write_text(f"{state}\n")
    assert not node.run("drained", "upgrade", files=True)["changed"]
    kept = node.run("in_service", "upgrade")
    assert (kept["changed"], kept["in_service"]) == (False, False)
    assert node.state == state
    assert not node.nologin.exists()


def test_a_drain_file_of_somebody_else_is_not_removed(node: Node) -> None:
    node.nologin.write_text("away\n")
    node.run("drained", "upgrade", files=True)
    node.run("in_service", "upgrade")
    assert node.nologin.read_text() == "away\n"


def test_an_interrupted_drain_is_completed(node: Node) -> None:
    node.record_file.write_text(json.dumps({"by": "upgrade", "since": 1, "files": [str(node.nologin)]}))
    assert node.run("drained", "upgrade", files=True)["changed"]
    assert node.state == "draining"
    assert node.nologin.exists()
    assert json.loads(node.record_file.read_text())["since"] == 1
    assert node.run("drained", "upgrade")["seconds"] > 1000


def test_an_interrupted_return_is_completed(node: Node) -> None:
    node.record_file.write_text(json.dumps({"by": "upgrade", "since": 1, "files": [str(node.nologin)]}))
    assert node.run("in_service", "upgrade")["changed"]
    assert node.state == "production"
    assert not node.record_file.exists()


def test_maintenance_declared_during_a_drain_keeps_all_that_holds_the_node_out(node: Node) -> None:
    node.run("drained", "upgrade", files=True)
    node.state_file.write_text("maintenance\n")
    assert not node.run("drained", "upgrade", files=True)["changed"]
    kept = node.run("in_service", "upgrade")
    assert (kept["changed"], kept["in_service"], kept["drained_by"]) == (False, False, "upgrade")
    assert node.state == "maintenance"
    # For a balancer of the site's own this file is the node's state.
    assert node.nologin.exists()

    node.state_file.write_text("production\n")
    back = node.run("in_service", "upgrade")
    assert (back["changed"], back["in_service"], back["drained_by"]) == (True, True, "")
    assert not node.nologin.exists()
    assert not node.record_file.exists()


def test_check_mode_changes_nothing(node: Node) -> None:
    assert node.run("drained", "upgrade", files=True, check=True)["changed"]
    assert node.state == "production"
    assert not node.record_file.exists()
    node.run("drained", "upgrade")
    assert node.run("in_service", "upgrade", check=True)["changed"]
    assert node.state == "draining"


def test_a_node_that_was_never_provisioned_is_named(node: Node) -> None:
    node.state_file.unlink()
    result = node.run("drained", "upgrade")
    assert result["failed"]
    assert "provision the node first" in result["msg"]


@pytest.mark.parametrize(("file", "text"), [("state_file", "asleep\n"), ("record_file", "{")])
def test_a_damaged_file_is_named_with_the_remedy(node: Node, file: str, text: str) -> None:
    path: Path = getattr(node, file)
    path.write_text(text)
    result = node.run("drained", "upgrade")
    assert result["failed"]
    assert str(path) in result["msg"]
    assert path.read_text() == text
