"""The module idle waits for httpd's own counters."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from .conftest import RunModule

QUIET = "Total Accesses: 9\nBusyWorkers: 1\nIdleWorkers: 31\nConnsTotal: 1\nConnsAsyncKeepAlive: 0\n"
ANSWERING = QUIET.replace("BusyWorkers: 1", "BusyWorkers: 3")
KEPT_OPEN = QUIET.replace("KeepAlive: 0", "KeepAlive: 4")


@contextmanager
def httpd(*pages: str) -> Iterator[str]:
    """A server that shows these pages one after another, and then the last one for ever."""
    waiting = list(pages)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/server-status?auto"
    finally:
        server.shutdown()
        server.server_close()


def test_a_quiet_httpd_is_idle_at_once(run_module: RunModule) -> None:
    with httpd(QUIET) as url:
        result = run_module("idle", {"url": url})
    assert (result["changed"], result["busy"], result["open"]) == (False, 0, 0)


def test_requests_and_kept_connections_are_waited_for(run_module: RunModule) -> None:
    with httpd(ANSWERING, KEPT_OPEN, QUIET) as url:
        assert run_module("idle", {"url": url})["seconds"] >= 0.6


def test_what_is_still_there_in_the_end_is_counted(run_module: RunModule) -> None:
    with httpd(KEPT_OPEN) as url:
        result = run_module("idle", {"url": url, "timeout": 1})
    assert result["failed"]
    assert "answers 0 requests and holds 4 connections (4 kept alive): " in result["msg"]


def test_a_page_without_counters_is_not_taken_for_idle(run_module: RunModule) -> None:
    with httpd("<html>It works!</html>") as url:
        result = run_module("idle", {"url": url})
    assert result["failed"]
    assert "is mod_status loaded?" in result["msg"]


def test_an_httpd_that_does_not_answer_is_named(run_module: RunModule) -> None:
    with httpd(QUIET) as url:
        pass
    result = run_module("idle", {"url": url})
    assert result["failed"]
    assert url in result["msg"]
