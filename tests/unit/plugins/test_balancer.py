"""The module balancer waits for what haproxy says of a node; balancer_report says it of all."""

from __future__ import annotations

import socketserver
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import RunModule

BACKENDS = ("panda_http", "panda_https", "panda_cache")
NODE = "atlas-pandaserver-01"


def statistics(*rows: tuple[str, str, str, int, int]) -> str:
    """haproxy's answer: backend, server, status, sessions, queue."""
    lines = ["# pxname,svname,qcur,qmax,scur,smax,status,"]
    lines += [
        f"{backend},{server},{queue},0,{sessions},9,{status}," for backend, server, status, sessions, queue in rows
    ]
    return "\n".join([*lines, "", ""])


def everywhere(status: str, sessions: int = 0, queue: int = 0) -> str:
    """The node in all three backends, with another node that is up and busy."""
    other = [(backend, "atlas-pandaserver-02", "UP", 5, 0) for backend in BACKENDS]
    return statistics(*other, *[(backend, NODE, status, sessions, queue) for backend in BACKENDS])


class Haproxy(socketserver.ThreadingUnixStreamServer):
    """An admin socket that gives one answer after another, the last one for good."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        super().__init__(path, Connection)
        self.answers: list[str] = []
        self.questions: list[str] = []


class Connection(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, Haproxy)
        server.questions.append(self.rfile.readline().decode().strip())
        answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        self.wfile.write(answer.encode())


@pytest.fixture
def haproxy() -> Iterator[Haproxy]:
    # Not tmp_path: the path of a socket has to be short.
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        server = Haproxy(str(Path(folder, "admin.sock")))
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield server
        server.shutdown()
        server.server_close()


def run(run_module: RunModule, haproxy: Haproxy, answers: list[str], **arguments: Any) -> dict[str, Any]:
    haproxy.answers = answers
    given = {"name": NODE, "socket": str(haproxy.server_address), "timeout": 1, **arguments}
    return run_module("balancer", given)


def test_a_node_that_is_in_is_in(run_module: RunModule, haproxy: Haproxy) -> None:
    answer = run(run_module, haproxy, [everywhere("UP", 2)], state="in")
    assert (answer["changed"], answer["sessions"]) == (False, 6)
    assert answer["states"] == dict.fromkeys(BACKENDS, "UP")
    assert haproxy.questions == ["show stat"]


@pytest.mark.parametrize("status", ["DOWN", "DOWN 1/2", "MAINT", "DRAIN", "NOLB"])
def test_a_node_that_gets_no_new_request_is_out(run_module: RunModule, haproxy: Haproxy, status: str) -> None:
    assert run(run_module, haproxy, [everywhere(status, 3)], state="out")["sessions"] == 9


def test_a_node_that_the_balancer_does_not_have_is_out(run_module: RunModule, haproxy: Haproxy) -> None:
    other = statistics(("panda_http", "atlas-pandaserver-02", "UP", 5, 0))
    answer = run(run_module, haproxy, [other], state="out", idle=True)
    assert (answer["sessions"], answer["states"]) == (0, {})


def test_a_node_that_the_balancer_does_not_have_is_not_in(run_module: RunModule, haproxy: Haproxy) -> None:
    answer = run(run_module, haproxy, [statistics(("panda_http", "other", "UP", 0, 0))], state="in")
    assert answer["failed"]
    assert "panda_cache: does not have it" in answer["msg"]


def test_one_backend_that_is_behind_is_waited_for(run_module: RunModule, haproxy: Haproxy) -> None:
    behind = statistics(*[(backend, NODE, "UP" if backend == "panda_https" else "DOWN", 0, 0) for backend in BACKENDS])
    answer = run(run_module, haproxy, [behind, behind, everywhere("DOWN")], state="out", timeout=10)
    assert answer["seconds"] >= 0.4
    assert len(haproxy.questions) == 3


def test_idle_waits_for_the_last_connection_and_the_queue(run_module: RunModule, haproxy: Haproxy) -> None:
    answers = [everywhere("DOWN", 1), everywhere("DOWN", 0, 1), everywhere("DOWN")]
    assert run(run_module, haproxy, answers, state="out", idle=True, timeout=10)["sessions"] == 0
    assert len(haproxy.questions) == 3


def test_a_wait_that_is_over_says_what_is_left(run_module: RunModule, haproxy: Haproxy) -> None:
    answer = run(run_module, haproxy, [everywhere("DOWN", 4)], state="out", idle=True)
    assert answer["failed"]
    assert f"{NODE} is not out and idle at this balancer after 1 s" in answer["msg"]
    assert "panda_http: 4 connections left" in answer["msg"]


def test_a_balancer_that_does_not_run_is_not_waited_for(run_module: RunModule, tmp_path: Path) -> None:
    given = {"name": NODE, "state": "out", "socket": str(tmp_path / "none.sock"), "timeout": 300}
    answer = run_module("balancer", given)
    assert answer["failed"]
    assert "haproxy does not answer at" in answer["msg"]
    assert answer["seconds"] < 10


def test_the_report_says_what_haproxy_makes_of_every_node(run_module: RunModule, haproxy: Haproxy) -> None:
    haproxy.answers = [everywhere("MAINT")]
    answer = run_module("balancer_report", {"socket": str(haproxy.server_address)})
    assert answer["nodes"] == {
        "atlas-pandaserver-02": dict.fromkeys(BACKENDS, "UP"),
        NODE: dict.fromkeys(BACKENDS, "MAINT"),
    }


def test_a_balancer_that_does_not_answer_says_so(run_module: RunModule, tmp_path: Path) -> None:
    answer = run_module("balancer_report", {"socket": str(tmp_path / "none.sock")})
    assert answer["failed"]
    assert "haproxy does not answer at" in answer["msg"]
