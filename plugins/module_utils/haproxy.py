"""Asking haproxy, on its own host, what it makes of its servers."""

from __future__ import annotations

import csv
import socket
from typing import Any

SOCKET = "/var/lib/haproxy/admin.sock"
BACKENDS = ("panda_http", "panda_https", "panda_cache")
ANSWER_SECONDS = 5


def ask(path: str) -> str:
    """The statistics of haproxy, in CSV; OSError where it does not answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(path)
        connection.sendall(b"show stat\n")
        chunks: list[bytes] = []
        while True:
            chunk = connection.recv(1 << 16)
            if not chunk:
                return b"".join(chunks).decode(errors="replace")
            chunks.append(chunk)


def servers(text: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Server to backend to its state and sessions there; a backend that does not have it is left out."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in csv.DictReader(text.lstrip("# ").splitlines()):
        if row["pxname"] in BACKENDS and row["svname"] != "BACKEND":
            sessions = int(row["scur"] or 0) + int(row["qcur"] or 0)
            found.setdefault(row["svname"], {})[row["pxname"]] = {"state": row["status"], "sessions": sessions}
    return found
