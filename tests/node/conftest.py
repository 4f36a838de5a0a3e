"""What the statements about a node are made with.

`host` is the node from inside, over the inventory's ssh (pytest-testinfra). `outside` is the node as a client on
another host meets it: the machine that runs these tests. `settings` is what the node was provisioned with.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

ROOT = Path(__file__).resolve().parents[2]
PASSWORD_FILE = "/etc/panda/panda_server_secrets.env"
ENVIRONMENT_FILE = "/etc/sysconfig/panda_server_env"
REQUEST_SECONDS = 15
ALIVE_SECONDS = 60

_began = pytest.StashKey[float]()
_dead = pytest.StashKey[bool]()


@functools.cache
def variables_of(name: str, inventory_path: str | None) -> dict[str, Any]:
    """The inventory's variables of a host over the defaults of all roles, resolved as Ansible resolves them."""
    loader = DataLoader()
    loader.set_basedir(str(ROOT))
    inventory = InventoryManager(
        loader=loader, sources=[inventory_path] if inventory_path else constants.DEFAULT_HOST_LIST
    )
    variables: dict[str, Any] = {}
    for defaults in sorted(ROOT.glob("roles/*/defaults/main.yml")):
        variables |= loader.load_from_file(str(defaults), trusted_as_template=True)
    host = inventory.get_host(name)
    variables |= VariableManager(loader=loader, inventory=inventory).get_vars(host=host)
    templar = Templar(loader, variables)
    wanted = ("panda_server_", "squid_", "logrotate_", "ansible_host", "ansible_port")
    return {key: templar.template(value) for key, value in variables.items() if key.startswith(wanted)}


@dataclass
class Answer:
    """What came back for a request."""

    status: int
    headers: http.client.HTTPMessage
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Outside:
    """The node as a client on another host meets it."""

    def __init__(self, address: str, settings: dict[str, Any], authorities: Callable[[], str]) -> None:
        self.address = address
        self.port: int = settings["panda_server_port"]
        self.port_ssl: int = settings["panda_server_port_ssl"]
        self.name: str = settings["panda_server_servername"]
        self._authorities = authorities

    def http(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        """Ask over http; an OSError where nobody answers."""
        return self._ask(
            http.client.HTTPConnection(self.address, self.port, timeout=REQUEST_SECONDS), path, method, headers
        )

    def https(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        """Ask over https; the node's certificate has to be signed by its authority, for the service's name."""
        connection = http.client.HTTPConnection(self.address, self.port_ssl, timeout=REQUEST_SECONDS)
        connection.sock = self.tls(self.verifying())
        return self._ask(connection, path, method, headers)

    def tls(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """A TLS connection to the service's name at the node's address."""
        plain = socket.create_connection((self.address, self.port_ssl), timeout=REQUEST_SECONDS)
        return context.wrap_socket(plain, server_hostname=self.name)

    def verifying(self) -> ssl.SSLContext:
        """A context that trusts the authorities of the node's chain and nobody else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self._authorities())
        # The chain of a site's certificate may end below the root.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    def status(self, path: str) -> int | str:
        """The status code of an http answer, or why there is none."""
        try:
            return self.http(path).status
        except (OSError, http.client.HTTPException) as error:
            return f"no answer: {error!r}"

    def alive(self) -> bool:
        """Whether isAlive is answered over http and https."""
        try:
            return all(ask("/server/panda/isAlive").body == "alive=yes" for ask in (self.http, self.https))
        except (OSError, http.client.HTTPException):
            return False

    def connects(self, port: int) -> bool:
        """Whether a TCP connection to the port comes about."""
        try:
            socket.create_connection((self.address, port), timeout=3).close()
        except OSError:
            return False
        return True

    @staticmethod
    def _ask(connection: http.client.HTTPConnection, path: str, method: str, headers: dict[str, str] | None) -> Answer:
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode(errors="replace"))
        finally:
            connection.close()


class Units:
    """The node's units, as systemd tells of them and as an operator handles them."""

    parent = "panda.service"
    children = ("panda_httpd.service", "panda_wsgi.socket", "panda_wsgi.service", "panda_daemon.service")

    def __init__(self, host: Any) -> None:
        self._host = host

    def control(self, verb: str, *units: str) -> None:
        """`systemctl VERB UNITS`, which has to succeed."""
        self._host.run_expect([0], " ".join(["systemctl", verb, *units]))

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return str(self._host.check_output("systemctl show --value --property=%s %s", name, unit))

    def states(self, *units: str) -> dict[str, str]:
        """Unit to active, inactive, failed, ...; of all children where none is named."""
        units = units or self.children
        return dict(zip(units, self._host.run("systemctl is-active " + " ".join(units)).stdout.split(), strict=True))

    def all(self, state: str) -> dict[str, str]:
        """What `states` tells when every child is in this state."""
        return dict.fromkeys(self.children, state)

    def left_running(self) -> dict[str, tuple[str, dict[int, str]]]:
        """Children that are not inactive, or have processes: their state, and those."""
        found = {unit: (state, self.processes(unit)) for unit, state in self.states().items()}
        return {unit: left for unit, left in found.items() if left != ("inactive", {})}

    @contextlib.contextmanager
    def stopped(self, unit: str = parent) -> Iterator[None]:
        """A unit that is stopped for as long as the `with` lasts; with the parent, all its children."""
        self.control("stop", unit)
        try:
            yield
        finally:
            self.control("start", unit)

    def main_process(self, unit: str) -> int:
        """Id of a unit's main process; 0 where it has none."""
        return int(self.show(unit, "MainPID"))

    def processes(self, unit: str) -> dict[int, str]:
        """Id and account of every process of a unit."""
        lines = (line.split() for line in self._host.check_output("ps -eo pid=,user:32=,unit:64=").splitlines())
        return {int(pid): account for pid, account, of in lines if of == unit}


class Service:
    """What runs on the node as its services run: their account, their environment, their password."""

    def __init__(self, host: Any, settings: dict[str, Any]) -> None:
        self._host = host
        self._prefix: str = settings["panda_server_prefix"]
        self._account: str = settings["panda_server_user"]

    def run(self, program: str, *arguments: str, account: str = "") -> Any:
        """Run a program of the release in use."""
        command = "systemd-run --pipe --wait --collect --quiet --property=User=%s --property=EnvironmentFile=%s"
        command += " --property=EnvironmentFile=-%s %s" + " %s" * len(arguments)
        path = f"{self._prefix}/bin/{program}"
        return self._host.run(command, account or self._account, ENVIRONMENT_FILE, PASSWORD_FILE, path, *arguments)

    def query(self, statement: str) -> list[list[Any]]:
        """Rows that a statement returns from the node's database, whichever it is."""
        result = self.run("python", "-c", QUERY, statement)
        assert result.rc == 0, result.stderr
        rows: list[list[Any]] = json.loads(result.stdout)
        return rows


QUERY = """
import json, sys
from panda_node import config
from panda_node.db import drivers
connection = drivers.connect(config.load().database, 10)
cursor = connection.cursor()
cursor.execute(sys.argv[1])
print(json.dumps(cursor.fetchall() if cursor.description else []))
connection.commit()
"""


@pytest.fixture(scope="module")
def settings(host: Any) -> dict[str, Any]:
    """The roles' variables as they hold for the node."""
    return variables_of(host.backend.host, host.backend.ansible_inventory)


@pytest.fixture(scope="module")
def outside(host: Any, settings: dict[str, Any]) -> Outside:
    """The node as a client on another host meets it."""

    @functools.cache
    def authorities() -> str:
        return str(host.file(settings["panda_server_chain"]).content_string)

    return Outside(settings.get("ansible_host", host.backend.host), settings, authorities)


@pytest.fixture(scope="module")
def units(host: Any) -> Units:
    """The node's units."""
    return Units(host)


@pytest.fixture(scope="module")
def service(host: Any, settings: dict[str, Any]) -> Service:
    """What runs on the node as its services run."""
    return Service(host, settings)


def look_until(look: Callable[[], Any], expected: Any, *, within: float) -> None:
    """Look again and again until it is as expected."""
    deadline = time.monotonic() + within
    while (seen := look()) != expected:
        if time.monotonic() > deadline:
            assert seen == expected, f"not within {within} s"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """`eventually(look, expected, within=seconds)`: look again and again until it is as expected."""
    return look_until


@pytest.fixture
def reboot(host: Any, eventually: Callable[..., None]) -> Callable[[], None]:
    """Reboots the node and returns as soon as it can be logged in to again."""

    def booted_at() -> str:
        try:
            return str(host.run("systemctl show --value --property=UserspaceTimestampMonotonic").stdout.strip())
        except RuntimeError:  # ssh could not connect
            return ""

    def reboot_node() -> None:
        before = booted_at()
        with contextlib.suppress(RuntimeError):
            host.run("systemctl reboot --no-block")
        eventually(lambda: booted_at() not in ("", before), True, within=120)

    return reboot_node


@pytest.fixture(autouse=True)
def _alive(request: pytest.FixtureRequest, outside: Outside, eventually: Callable[..., None]) -> None:
    """Every statement begins with a node that is alive, whatever the one before did to it."""
    known_dead = request.session.stash.get(_dead, False)
    request.session.stash[_dead] = True
    eventually(outside.alive, True, within=1 if known_dead else ALIVE_SECONDS)
    request.session.stash[_dead] = False


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember when the test began."""
    item.stash[_began] = time.time()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Print what the units wrote during a test that failed."""
    report = yield
    host = getattr(item, "funcargs", {}).get("host")
    if report.failed and host is not None:
        command = (
            "journalctl --no-pager --output=short-precise --lines=80 --since=@%s -u 'panda*' -u squid -u firewalld"
        )
        try:
            journal = host.run(command, str(int(item.stash[_began]) - 1)).stdout
        except Exception as error:  # the node may not even answer ssh
            journal = f"none: {error}"
        report.sections.append((f"journal of the node's units during {call.when}", journal))
    return report
