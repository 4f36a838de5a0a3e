"""What the tests of modules and plugins share: running a module as a node does, and certificates."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[3]
MODULES = "ansible_collections.panda.provision.plugins.modules"


class RunModule(Protocol):
    """Runs a module of this collection in a process of its own and returns what it answers."""

    def __call__(
        self,
        name: str,
        arguments: dict[str, Any],
        *,
        check: bool = False,
        diff: bool = False,
        environment: dict[str, str] | None = None,
    ) -> dict[str, Any]: ...


@pytest.fixture
def run_module(tmp_path_factory: pytest.TempPathFactory) -> RunModule:
    """Return `run_module(name, arguments, check=..., diff=..., environment=...)`."""
    remote_tmp = tmp_path_factory.mktemp("ansible")

    def run(
        name: str,
        arguments: dict[str, Any],
        *,
        check: bool = False,
        diff: bool = False,
        environment: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        internal = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": str(remote_tmp)}
        added = environment or {}
        path = os.pathsep.join(filter(None, [str(ROOT / "collections"), added.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, "-m", f"{MODULES}.{name}"],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, **internal}}),
            env={**os.environ, **added, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout, f"the module answered nothing: {done.stderr}"
        answer: dict[str, Any] = json.loads(done.stdout)
        assert "Traceback" not in done.stderr + answer.get("exception", ""), f"the module broke down: {done.stderr}"
        return answer

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file system of its own, in which one file of up to 4 KiB has room."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


SYSTEMCTL = """#!{python}
import sys
STATES = {states!r}
properties = sys.argv[2].partition("=")[2].split(",")
for unit in sys.argv[3:]:
    state = {{"Id": unit, "LoadState": "loaded" if unit in STATES else "not-found", **STATES.get(unit, {{}})}}
    print(*(f"{{name}}={{state.get(name, '')}}" for name in properties), "", sep="\\n")
"""


class Systemd(Protocol):
    """Has `systemctl show` tell these properties of units, and of all others that they are not there."""

    def __call__(self, **states: dict[str, str]) -> None: ...


@pytest.fixture
def systemd(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    """Return `systemd(**{unit: properties})`."""
    folder = tmp_path_factory.mktemp("systemd")
    program = folder / "systemctl"

    def have(**states: dict[str, str]) -> None:
        program.write_text(SYSTEMCTL.format(python=sys.executable, states=states))
        program.chmod(0o755)

    have()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return have


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Return a port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def own_name() -> str:
    """The name of this process, as the kernel knows it."""
    return Path("/proc/self/comm").read_text().strip()


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in PEM form."""

    certificate: str
    key: str
    private: ec.EllipticCurvePrivateKey

    def protected_key(self) -> str:
        """The key under a passphrase."""
        encryption = BestAvailableEncryption(b"open sesame")
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


MakePair = Callable[..., Pair]


@pytest.fixture(scope="session")
def make_pair() -> MakePair:
    """Return `make_pair(*names, valid_from=, valid_to=, signer=, own=)`, days from today; without names it lists none.

    Without a signer a certificate signs itself; without a key of its own it gets a new one.
    """

    def make(
        *names: str, valid_from: int = -1, valid_to: int = 30, signer: Pair | None = None, own: Pair | None = None
    ) -> Pair:
        key = own.private if own else ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pandaserver.cern.ch")])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now + timedelta(days=valid_from))
            .not_valid_after(now + timedelta(days=valid_to))
        )
        if names:
            listed = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(listed, critical=False)
        pem = builder.sign(signer.private if signer else key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
        return Pair(pem, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), key)

    return make
