"""A worker is free when it has given its answer, not when httpd has passed it on."""

import socket
from contextlib import suppress

_UNREAD = 65536
"""Bytes of a request that are looked at before its connection is closed."""


def close(sock: socket.socket) -> None:
    """Closes a connection whose answer is written, at once.

    gunicorn's own way (27.0.1) waits up to 2 s for the peer to close its end, lest TCP throw away what the peer has not
    read yet. httpd does so only when its client has all of the answer, and a UNIX socket throws nothing away. What is
    left of the request is taken, because closing upon it would be an error at the peer.
    """
    with suppress(OSError):
        sock.setblocking(False)
        sock.recv(_UNREAD)
    with suppress(OSError):
        sock.close()
