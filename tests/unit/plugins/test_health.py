"""The module health tells a live node from one that is not, and says why."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .conftest import MakePair, RunModule


class Handler(BaseHTTPRequestHandler):
    """A node's httpd, in small."""

    def do_GET(self) -> None:
        if self.path == "/garbage":
            self.wfile.write(b"this is no http\r\n\r\n")
            return
        first = self.server.answered_late is False
        self.server.answered_late = True
        status = 503 if self.path == "/missing" or (self.path == "/late" and first) else 200
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"alive=yes" if status == 200 else b"the application is away")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def serve(certificate: Path | None = None) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answered_late = False
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
    return server


@pytest.fixture
def http() -> Iterator[str]:
    """Return the URL of a server that answers `alive=yes`."""
    server = serve()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def https(make_pair: MakePair, tmp_path: Path) -> Iterator[int]:
    """Return the port of the same server over TLS; its certificate is in served.pem."""
    pair = make_pair("pandaserver.cern.ch")
    (tmp_path / "served.pem").write_text(pair.certificate + pair.key)
    server = serve(tmp_path / "served.pem")
    yield server.server_port
    server.shutdown()
    server.server_close()


def systemctl(folder: Path, states: str) -> dict[str, str]:
    """Put stand-ins for systemctl and journalctl in front of the module's PATH."""
    for name, text in {"systemctl": f"echo '{states}'", "journalctl": "echo last words of ${4#--unit=}"}.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_a_live_node_is_told_to_be_one(run_module: RunModule, http: str, https: int, tmp_path: Path) -> None:
    result = run_module(
        "health",
        {
            "units": ["panda.service", "panda_httpd.service"],
            "urls": [
                {"url": f"{http}/a", "body": "alive=yes"},
                {"url": f"https://127.0.0.1:{https}/", "body": "^alive"},
            ],
            "certificates": [{"port": https, "path": f"{tmp_path}/served.pem"}],
            "timeout": 5,
        },
        check=True,
        # One that reloads serves all the while.
        environment=systemctl(tmp_path, "active\nreloading"),
    )
    assert "failed" not in result, result
    assert not result["changed"]
    assert result["seconds"] < 5


def test_everything_that_is_not_well_is_told_together(
    run_module: RunModule, http: str, https: int, make_pair: MakePair, tmp_path: Path
) -> None:
    (tmp_path / "other.pem").write_text(make_pair("pandaserver.cern.ch").certificate)
    plain = int(http.rpartition(":")[2])
    result = run_module(
        "health",
        {
            "units": ["panda.service", "panda_wsgi.service"],
            "urls": [
                {"url": f"{http}/server/panda/isAlive", "body": "alive=no"},
                {"url": f"{http}/missing"},
                {"url": f"{http}/garbage"},
                {"url": "http://127.0.0.1:1/"},
            ],
            "certificates": [
                {"port": https, "path": f"{tmp_path}/other.pem"},
                {"port": https, "path": f"{tmp_path}/none.pem"},
                {"port": plain, "path": f"{tmp_path}/served.pem"},
            ],
            "timeout": 0,
        },
        environment=systemctl(tmp_path, "active\nfailed"),
    )
    assert result["failed"]
    faults = result["faults"]
    assert faults[0] == "panda_wsgi.service is failed"
    assert faults[1] == f"{http}/server/panda/isAlive answers 'alive=yes', in which 'alive=no' is missing"
    assert faults[2] == f"{http}/missing answers 503, not 200: the application is away"
    assert faults[3].startswith(f"{http}/garbage does not answer: ")
    assert faults[4] == "http://127.0.0.1:1/ does not answer: [Errno 111] Connection refused"
    assert faults[5] == f"port {https} serves another certificate than {tmp_path}/other.pem holds: reload the service"
    assert faults[6] == f"{tmp_path}/none.pem: No such file or directory"
    assert faults[7].startswith(f"port {plain} does not serve TLS: ")
    assert len(faults) == 8
    assert "journal of panda_wsgi.service:\nlast words of panda_wsgi.service" in result["msg"]
    assert "journal of panda.service" not in result["msg"]


def test_a_node_that_needs_a_moment_gets_it(run_module: RunModule, http: str) -> None:
    result = run_module("health", {"urls": [{"url": f"{http}/late"}], "timeout": 10})
    assert "failed" not in result, result
    assert 0.3 <= result["seconds"] < 10


def test_a_node_that_stays_dead_is_given_up_in_time(run_module: RunModule, http: str) -> None:
    start = time.monotonic()
    result = run_module("health", {"urls": [{"url": f"{http}/missing"}], "timeout": 1})
    assert result["failed"]
    assert result["msg"].startswith("not alive after 1.")
    assert time.monotonic() - start < 5


def test_a_proxy_in_the_environment_is_not_asked(run_module: RunModule, http: str) -> None:
    result = run_module(
        "health",
        {"urls": [{"url": f"{http}/", "body": "alive=yes"}], "timeout": 0},
        environment={"http_proxy": "http://127.0.0.1:1", "no_proxy": ""},
    )
    assert "failed" not in result, result


def test_a_host_without_systemd_is_told_in_words(run_module: RunModule, tmp_path: Path) -> None:
    result = run_module("health", {"units": ["panda.service"], "timeout": 0}, environment={"PATH": str(tmp_path)})
    assert result["failed"]
    assert "systemctl is not installed here" in result["msg"]


def test_a_systemd_that_does_not_answer_is_told_in_words(run_module: RunModule, tmp_path: Path) -> None:
    environment = systemctl(tmp_path, "")
    (tmp_path / "systemctl").write_text("#!/bin/sh\necho 'System has not been booted with systemd' >&2; exit 1\n")
    result = run_module("health", {"units": ["panda.service"], "timeout": 0}, environment=environment)
    assert result["faults"] == ["systemctl does not answer: System has not been booted with systemd"]


@pytest.mark.parametrize("changed", ["served.pem", "chain.pem", "link.pem", ""])
def test_a_file_that_was_changed_after_the_service_read_it_is_told(
    run_module: RunModule, https: int, tmp_path: Path, changed: str
) -> None:
    """The certificate is the one served; of its chain a client sees too little to compare."""
    (tmp_path / "chain.pem").write_text("an authority")
    link = tmp_path / "link.pem"
    link.symlink_to("chain.pem")
    time.sleep(0.05)
    read = int(time.monotonic() * 1e6)
    time.sleep(0.05)
    if changed == "link.pem":
        link.unlink()
        link.symlink_to("chain.pem")
    elif changed:
        # The time of the content stays, as when a copy keeps it.
        (tmp_path / changed).chmod(0o600)
    environment = systemctl(tmp_path, f"LoadState=loaded\nStateChangeTimestampMonotonic={read}")
    wanted = {
        "port": https,
        "path": f"{tmp_path}/served.pem",
        "chain": str(link),
        "unit": "panda_httpd.service",
    }
    result = run_module("health", {"certificates": [wanted], "timeout": 0}, environment=environment)
    told = str(link) if changed == "chain.pem" else f"{tmp_path}/{changed}"
    assert result.get("faults", []) == (
        [f"{told} was changed after panda_httpd.service has read it: reload the service"] if changed else []
    )


def test_preflight_tells_what_a_unit_serves_besides_its_files_and_nothing_of_a_port_that_is_not_its_own(
    run_module: RunModule, https: int, make_pair: MakePair, tmp_path: Path
) -> None:
    (tmp_path / "other.pem").write_text(make_pair("pandaserver.cern.ch").certificate)
    seen = run_module("preflight", {"roles": ["panda_server"]})["node"]
    (ours,) = [item["unit"] for item in seen["listeners"] if (item["protocol"], item["port"]) == ("tcp", https)]
    wanted = {"port": https, "chain": "", "unit": ours}
    look = {
        "served": [
            {**wanted, "path": f"{tmp_path}/other.pem"},
            {**wanted, "path": f"{tmp_path}/not-yet.pem", "port": 1},
            {**wanted, "path": f"{tmp_path}/theirs.pem", "unit": "another.service"},
        ]
    }
    node = run_module("preflight", {"roles": ["panda_server"], "look": look}, check=True)["node"]
    assert node["served"] == {
        f"{tmp_path}/other.pem": f"port {https} serves another certificate than {tmp_path}/other.pem holds: "
        "reload the service",
        f"{tmp_path}/not-yet.pem": "",
        f"{tmp_path}/theirs.pem": "",
    }
