"""Authorities of client certificates, as a site lets a node know them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.tests.identities import Authority

FOLDER = "/etc/grid-security/certificates"


def hash_of(authority: Authority) -> str:
    """The name under which OpenSSL looks for an authority's files."""
    ask = ["openssl", "x509", "-noout", "-hash", "-in", str(authority.file)]
    return subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()


def bring_list(host: Any, units: Any, authority: Authority, *revoked: Path) -> None:
    """A new list of those that the authority has revoked comes to the node, and the hour at which httpd reads it."""
    put(host, {f"{FOLDER}/{hash_of(authority)}.r0": authority.revocations(*revoked)})
    units.control("start", "panda_revocation.service")


def put(host: Any, files: dict[str, str]) -> None:
    """Files with these contents on the node."""
    for path, content in files.items():
        host.run_expect([0], "mkdir -p %s && printf %%s %s > %s", str(Path(path).parent), content, path)


@contextlib.contextmanager
def known(host: Any, units: Any, directory: Path, further: dict[str, str] | None = None) -> Iterator[Authority]:
    """A new authority whose client certificates the node accepts, with further files beside it."""
    authority = Authority(directory)
    name = f"{FOLDER}/{hash_of(authority)}"
    files = {f"{name}.0": authority.file.read_text(), f"{name}.r0": authority.revocations(), **(further or {})}
    put(host, files)
    # httpd remembers an authority of the same name, which an earlier run of these tests had.
    units.control("reload", "panda_httpd.service")
    yield authority
    host.run_expect([0], f"rm -r {' '.join(files)}")
