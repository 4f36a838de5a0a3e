"""Tells systemd how this service is (the sd_notify protocol)."""

import os
import socket


def notify(**variables: str | int) -> None:
    """Sends e.g. READY=1 or STATUS=...; does nothing outside a unit of Type=notify."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # What follows a line's end would be another variable.
    message = "\n".join(f"{name}={' '.join(str(value).splitlines())}" for name, value in variables.items())
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            channel.sendto(message.encode(), address)
    except OSError:
        pass  # A status line is never worth a failure of the service.
