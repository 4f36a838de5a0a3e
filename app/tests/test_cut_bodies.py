"""Requests that break off: a client that dies, a connection that is lost, a proxy that gives up."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

PILOT = "X-SSL-Client-Verify: SUCCESS\r\nX-SSL-Client-S-DN: /DC=test/CN=pilot\r\n"
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="sources.1"\r\n\r\n'
WHOLE = HEAD + b"x" * 100_000 + b"\r\n--b--\r\n"
MULTIPART = "multipart/form-data; boundary=b"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def server(node: Any, serving: Any) -> Iterator[tuple[str, Path]]:
    """gunicorn's URL, and the cache's directory."""
    cache = node.directory / "pandacache"
    node.server.update(cache_dir=cache, production_dns="CN=pilot")
    node.write()
    node.install_schema()
    with serving(node, 1) as (url, _):
        yield url, cache


def send(url: str, path: str, content_type: str, length: str, body: bytes) -> tuple[int, Any]:
    """Sends a request, ends the sending, and returns status and envelope of the answer."""
    place = urlsplit(url)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{PILOT}"
    with socket.create_connection((place.hostname, place.port), 10) as connection:
        connection.sendall(f"{head}Content-Type: {content_type}\r\n{length}\r\n\r\n".encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    status, _, rest = answer.partition(b"\r\n")
    return int(status.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2] or b"null")


def test_an_upload_that_breaks_off_leaves_nothing(server: tuple[str, Path]) -> None:
    url, cache = server
    path = "/api/v1/file_server/upload_cache_file"
    length, chunked = f"Content-Length: {len(WHOLE)}", "Transfer-Encoding: chunked"

    def chunk(data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data)

    cases = [(length, WHOLE[:end]) for end in (len(HEAD) + 50_000, len(WHOLE) - 9, len(WHOLE) - 6, len(WHOLE) - 4)]
    cases += [
        (chunked, chunk(WHOLE)[:50_000]),
        (chunked, chunk(WHOLE[:50_000])),
        (chunked, chunk(WHOLE[:50_000]) + b"zz\r\n"),
        (chunked, chunk(WHOLE[:50_000]) + b"0\r\n\r\n"),
    ]
    for how, body in cases:
        status, answer = send(url, path, MULTIPART, how, body)
        assert (status, answer["success"]) == (400, False), (how, len(body))
        assert list(cache.iterdir()) == [], (how, len(body))
    assert send(url, path, MULTIPART, length, WHOLE)[1]["success"]
    assert (cache / "sources.1").read_bytes() == b"x" * 100_000


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/api/v1/pilot/update_job", FORM),
        ("/api/v1/pilot/update_job", "application/json"),
        ("/server/panda/updateJob", FORM),
    ],
)
def test_a_call_that_breaks_off_is_not_taken_for_a_shorter_one(
    server: tuple[str, Path], path: str, content_type: str
) -> None:
    cut = b'{"job_id": 1, "job_status": "running"}' if "json" in content_type else b"jobId=1&state=running&attemptNr=1"
    for how in ("Content-Length: 100", "Transfer-Encoding: chunked"):
        body = b"64\r\n" + cut if "chunked" in how else cut
        status, answer = send(server[0], path, content_type, how, body)
        assert (status, answer["success"]) == (400, False)
        assert answer["message"] == "the body breaks off"
