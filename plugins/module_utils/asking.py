"""Asking a node's own services, from the node itself."""

from __future__ import annotations

import socket
import ssl
import urllib.error
import urllib.request

REQUEST_SECONDS = 10


def unverified() -> ssl.SSLContext:
    """A TLS context that takes any certificate: which one is served is compared with the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def fetch(url: str, timeout: float = REQUEST_SECONDS) -> tuple[int, str]:
    """Status code and body of what a URL answers; OSError, ValueError or HTTPException where nothing does."""
    # Straight to the node itself, whatever proxy its environment names.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unverified())
    )
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    try:
        with opener.open(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")


def served_certificate(port: int, timeout: float = REQUEST_SECONDS) -> str:
    """The certificate that a port of this host serves, in PEM form; OSError where it does not serve TLS."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    with plain, unverified().wrap_socket(plain) as connection:
        served = connection.getpeercert(binary_form=True)
    if served is None:
        raise ssl.SSLError("no certificate was shown")
    return ssl.DER_cert_to_PEM_cert(served)
