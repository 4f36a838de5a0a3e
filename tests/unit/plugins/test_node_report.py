"""The module node_report looks and changes nothing; what is not there is no error."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.modules import node_report

from .conftest import MakePair, RunModule

CONF = """\
cache_peer 127.0.0.1 parent 25080 0 originserver no-query name=httpd
cache_peer 192.0.2.11 sibling 25085 3130 proxy-only name=node-01
cache_peer_access node-01 allow all
# cache_peer 192.0.2.12 sibling 25085 3130 name=node-02
cache_peer 192.0.2.13 sibling 25085 3130 proxy-only
"""
URL = "http://pandaserver.cern.ch/cache/"


def look(folder: Path, **more: Any) -> dict[str, Any]:
    pair = [str(folder / "hostcert.pem"), str(folder / "hostkey.pem")]
    ports = {"tls_port": 1, "squid_port": 1, "icp_port": 1}
    return {"key_pair": pair, "icp_url": URL, "squid_conf": str(folder / "squid.conf"), **ports, **more}


class Sibling:
    """A squid that answers ICP questions with one opcode, or not at all."""

    def __init__(self, opcode: int | None) -> None:
        self.questions: list[bytes] = []
        self._opcode = opcode
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            question, asker = self._socket.recvfrom(1 << 12)
            if not question:
                return
            self.questions.append(question)
            if self._opcode is not None:
                self._socket.sendto(bytes([self._opcode]) + question[1:], asker)

    def close(self) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()


@pytest.fixture
def sibling(request: pytest.FixtureRequest) -> Iterator[Sibling]:
    made = Sibling(request.param)
    yield made
    made.close()


# 2: hit, 3: miss, 21: miss, and not fetched for you; 22: denied.
@pytest.mark.parametrize(
    ("sibling", "expected"),
    [(2, "answers"), (3, "answers"), (21, "answers"), (22, "denied"), (None, "silent")],
    indirect=["sibling"],
)
def test_a_sibling_is_asked_as_squid_asks(sibling: Sibling, expected: str) -> None:
    assert node_report.icp("127.0.0.1", sibling.port, URL) == expected
    question = sibling.questions[0]
    assert question[:2] == bytes([1, 2])
    assert int.from_bytes(question[2:4], "big") == len(question)
    assert question[24:] == URL.encode() + b"\0"


def test_a_closed_port_is_silent() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert node_report.icp("127.0.0.1", port, URL) == "silent"


def test_the_siblings_of_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "squid.conf").write_text(CONF)
    assert node_report.peers(str(tmp_path / "squid.conf")) == [
        {"name": "node-01", "address": "192.0.2.11"},
        {"name": "192.0.2.13", "address": "192.0.2.13"},
    ]


def test_how_full_a_disk_is(tmp_path: Path) -> None:
    seen = node_report.disk(str(tmp_path))
    assert 0 < seen["used_percent"] <= 100
    assert 0 <= seen["files_percent"] <= 100
    assert seen["free_bytes"] > 0
    assert node_report.disk(str(tmp_path / "none")) == {}


@pytest.mark.parametrize(("part", "whole", "expected"), [(0, 10, 0), (1, 1000, 1), (999, 1000, 100), (0, 0, 100)])
def test_a_share_is_rounded_up_as_df_does(part: int, whole: int, expected: int) -> None:
    assert node_report.percent(part, whole) == expected


def test_a_bare_node_is_looked_at_without_an_error(run_module: RunModule, tmp_path: Path) -> None:
    paths = {
        "texts": [str(tmp_path / "none")],
        "records": [str(tmp_path / "none.json")],
        "links": [str(tmp_path / "no")],
    }
    asked = {"folders": [str(tmp_path / "none")], "urls": ["http://127.0.0.1:1/"], "application": ["no.service"]}
    answer = run_module("node_report", {"look": look(tmp_path, **paths, **asked)})
    node = answer["node"]
    assert answer["changed"] is False
    assert (node["texts"], node["disks"], node["answers"], node["peers"], node["siblings"]) == ({}, {}, {}, [], {})
    assert node["records"] == {str(tmp_path / "none.json"): None}
    assert node["links"] == {str(tmp_path / "no"): {"there": False, "target": "", "leads": False}}
    assert node["served"]["pem"] == ""
    assert "refused" in node["served"]["error"]
    assert node["begun"] < node["ended"]


def test_what_is_there_is_told(run_module: RunModule, make_pair: MakePair, tmp_path: Path) -> None:
    pair, other = make_pair("pandaserver.cern.ch"), make_pair("pandaserver.cern.ch")
    (tmp_path / "hostcert.pem").write_text(pair.certificate)
    (tmp_path / "hostkey.pem").write_text(other.key)
    (tmp_path / "record.json").write_text('{"last_good": "1.0.0-a"}')
    (tmp_path / "link").symlink_to("releases/1.0.0-a")
    asked = {
        "texts": [str(tmp_path / "hostcert.pem")],
        "records": [str(tmp_path / "record.json")],
        "links": [str(tmp_path / "link")],
    }
    answer = run_module("node_report", {"look": look(tmp_path, **asked)})
    node = answer["node"]
    assert node["texts"] == {str(tmp_path / "hostcert.pem"): pair.certificate}
    assert node["records"] == {str(tmp_path / "record.json"): {"last_good": "1.0.0-a"}}
    assert node["links"] == {str(tmp_path / "link"): {"there": True, "target": "releases/1.0.0-a", "leads": False}}
    assert node["key_fault"] == "it belongs to another certificate"
    assert other.key not in str(answer)


def test_the_application_is_not_asked_while_it_rests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """systemd holds its socket: a request would start it."""
    asked: list[str] = []
    states = {"panda_httpd.service": {"active": "reloading"}, "panda_wsgi.service": {"active": "inactive"}}
    for name, stand_in in {
        "units": lambda *_: states,
        "answer": lambda url: asked.append(url) or {"status": 200, "body": ""},
        "container": lambda _: "",
        "ntp": lambda _: "",
        "schema": lambda *_: {},
    }.items():
        monkeypatch.setattr(node_report, name, stand_in)
    monkeypatch.setattr(node_report.os.path, "isdir", lambda _: True)
    wanted = {
        "units": list(states), "application": list(states), "urls": ["http://127.0.0.1/"], "schema_command": [],
        "siblings": [], "ports": [], "texts": [], "records": [], "links": [], "folders": [],
    }  # fmt: skip
    assert node_report.look_at(None, look(tmp_path, **wanted))["answers"] == {}
    assert asked == []
    states["panda_wsgi.service"]["active"] = "active"
    assert node_report.look_at(None, look(tmp_path, **wanted))["answers"] != {}
    assert asked == ["http://127.0.0.1/"]
