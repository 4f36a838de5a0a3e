"""Clients of a fleet: they ask through the balancer without a pause, and count every request that fails or is slow.

Half of them speak https. Half keep their connection for as long as they are let, the others open one for each request.
One keeps a connection and asks on it only now and then.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

PAUSE_SECONDS = 0.04
SELDOM_SECONDS = 1.5
SLOW_SECONDS = 5.0
TIMEOUT_SECONDS = 30.0


@dataclass
class Load:
    """The clients, from `with` to its end."""

    address: str
    service: str
    """Name in the certificate of every node."""
    authority: Path
    clients: int = 2
    """Of each of the four kinds."""
    port: int = 25080
    port_ssl: int = 25443
    path: str = "/server/panda/isAlive"
    expected: bytes = b"alive=yes"
    """In every good answer."""
    seconds: list[float] = field(default_factory=list)
    """How long each good answer took."""
    failed: list[str] = field(default_factory=list)
    took: float = 0.0
    """Seconds from the first to the last request."""

    @property
    def slow(self) -> list[float]:
        """Answers that took longer than a client would like to wait."""
        return [seconds for seconds in self.seconds if seconds > SLOW_SECONDS]

    @property
    def rate(self) -> float:
        """Requests a second, all clients together."""
        return (len(self.seconds) + len(self.failed)) / self.took

    def __str__(self) -> str:
        longest = max(self.seconds, default=0.0)
        return (
            f"{len(self.seconds)} requests in {self.took:.0f} s ({self.rate:.0f} a second), {len(self.failed)} failed, "
            f"{len(self.slow)} took more than {SLOW_SECONDS:.0f} s, the longest {longest:.1f} s"
        )

    def __enter__(self) -> Load:
        self._stopped = threading.Event()
        kinds = [(tls, keep, PAUSE_SECONDS) for tls in (False, True) for keep in (False, True)] * self.clients
        kinds += [(False, True, SELDOM_SECONDS), (True, True, SELDOM_SECONDS)]
        self._threads = [threading.Thread(target=self._ask, args=kind) for kind in kinds]
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        time.sleep(1)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(1)
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self.took = time.monotonic() - self._began

    def _ask(self, tls: bool, keep: bool, pause: float) -> None:
        context = ssl.create_default_context(cafile=self.authority)
        connection = self._connection(tls, context)
        headers = {"Accept": "application/json"} | ({} if keep else {"Connection": "close"})
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                connection.request("GET", self.path, headers=headers)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200 or self.expected not in body:
                    raise http.client.HTTPException(f"{answer.status} {body[:80]!r}")
                self.seconds.append(time.monotonic() - began)
            except (OSError, http.client.HTTPException) as error:
                kind = f"{'https' if tls else 'http'}, {'kept' if keep else 'one-shot'}"
                self.failed.append(f"at {began - self._began:.1f} s, {kind}: {error!r}")
                connection.close()
            self._stopped.wait(pause)
        connection.close()

    def _connection(self, tls: bool, context: ssl.SSLContext) -> http.client.HTTPConnection:
        if tls:
            return Secure(self.address, self.port_ssl, self.service, context)
        return http.client.HTTPConnection(self.address, self.port, timeout=TIMEOUT_SECONDS)


class Secure(http.client.HTTPSConnection):
    """https to an address, for the name of the service."""

    def __init__(self, address: str, port: int, service: str, context: ssl.SSLContext) -> None:
        super().__init__(address, port, timeout=TIMEOUT_SECONDS, context=context)
        self._service = service
        self._tls = context

    def connect(self) -> None:
        plain = socket.create_connection((self.host, self.port), timeout=TIMEOUT_SECONDS)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self._service)
