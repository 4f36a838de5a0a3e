"""The health report on a fleet: sound when it is, and each planted fault is found, named, and alone."""

from __future__ import annotations

import contextlib
import json
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils import demo_ca

from tests.node.conftest import look_until

from .conftest import BALANCER, NODES, SERVICE, SETTLED_SECONDS, Fleet

CERTIFICATE, KEY = "/etc/grid-security/hostcert.pem", "/etc/grid-security/hostkey.pem"
RECORD = "/opt/panda.releases/releases.json"
SERVED_SECONDS = 30
Found = set[tuple[str, str, str]]


@dataclass
class Report:
    """What the playbook said."""

    code: int
    terminal: str
    document: dict[str, Any]
    page: str

    @property
    def faults(self) -> Found:
        """Node, column and thing of each fault."""
        return {
            (name, fault["column"], fault["thing"])
            for name, node in self.document["nodes"].items()
            for fault in node["faults"]
        }

    def said(self, name: str) -> str:
        """All that is said of a node's faults."""
        return "\n".join(f"{fault['what']} → {fault['remedy']}" for fault in self.document["nodes"][name]["faults"])


Health = Callable[..., Report]


@pytest.fixture
def health(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Health:
    """`health(options...)`: run the playbook in a terminal of 100 columns."""

    def run(*options: str) -> Report:
        monkeypatch.setenv("COLUMNS", "100")
        done = fleet.play("playbooks/health.yml", "-e", f"health_folder={tmp_path}", *options, expect=None)
        file, page = tmp_path / "health.json", tmp_path / "health.html"
        assert file.exists(), done.output
        return Report(done.code, done.output, json.loads(file.read_text()), page.read_text())

    return run


@pytest.fixture(autouse=True)
def _sound(fleet: Fleet) -> None:
    """Every statement begins with nodes that serve, whatever the one before did to them."""
    look_until(fleet.unsettled, {}, within=SETTLED_SECONDS)


def shell(fleet: Fleet, name: str, script: str) -> str:
    """What a shell script, which has to succeed, prints on a host."""
    return str(fleet.host(name).run_expect([0], "bash -ec %s", script).stdout.strip())


@contextmanager
def commands(fleet: Fleet, name: str, plant: str, mend: str) -> Iterator[None]:
    """A shell command on a node that plants a fault, and the one that takes it away."""
    shell(fleet, name, plant)
    try:
        yield
    finally:
        shell(fleet, name, mend)


@contextmanager
def other_certificate(fleet: Fleet, name: str, days: int, *, reload: bool) -> Iterator[None]:
    """Another certificate of the same authority in place of a node's own, served or not."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for file in ("ca.pem", "ca.key"):
            (Path(folder) / file).write_bytes(fleet.authority.with_name(file).read_bytes())
        patch.setattr(demo_ca, "HOST_DAYS", days)
        made = demo_ca.host_certificate(Path(folder), name, [SERVICE, name])

    def served() -> str:
        return ssl.get_server_certificate((fleet.addresses[name], 25443)).strip()

    own = served()
    reloading = "; systemctl reload panda_httpd" if reload else ""
    plant = (
        f"cp -p {CERTIFICATE} {CERTIFICATE}.kept; cp -p {KEY} {KEY}.kept; "
        f"chmod u+w {CERTIFICATE} {KEY}; cat >{CERTIFICATE} <<'E'\n{made.certificate}\nE\n"
        f"cat >{KEY} <<'E'\n{made.key}\nE\nchmod 0444 {CERTIFICATE}; chmod 0400 {KEY}{reloading}"
    )
    # In any case with a reload: a file that was changed after httpd has read it is one that site.yml has it read again.
    mend = f"mv {CERTIFICATE}.kept {CERTIFICATE}; mv {KEY}.kept {KEY}; systemctl reload panda_httpd"
    with commands(fleet, name, plant, mend):
        # A reload takes effect a moment after it was asked for.
        look_until(served, made.certificate.strip() if reload else own, within=SERVED_SECONDS)
        yield
    look_until(served, own, within=SERVED_SECONDS)


@contextmanager
def without_sibling(fleet: Fleet, name: str, sibling: str) -> Iterator[None]:
    """A node whose squid was not told of a sibling."""
    conf = "/etc/squid/squid.conf"
    plant = (
        f"cp -p {conf} {conf}.kept; "
        f"sed -i -e '/^cache_peer .*name={sibling}$/d' -e '/^cache_peer_access {sibling} /d' {conf}; "
        # It closes its port for a moment, some time after it was told to.
        "systemctl reload squid; sleep 1; curl -so /dev/null --retry 30 --retry-delay 1 --retry-connrefused "
        "http://127.0.0.1:25085/"
    )
    with commands(fleet, name, plant, f"mv {conf}.kept {conf}; systemctl reload squid"):
        yield


@contextmanager
def another_time(fleet: Fleet, name: str, seconds: int) -> Iterator[None]:
    """A node whose Python is told another time: test nodes share the clock of the machine they run on."""
    place = shell(fleet, name, "/usr/bin/python3 -c 'import site; print(site.getsitepackages()[-1])'")
    # Python runs such a line at its start.
    line = f"import time; time.time = lambda real=time.time: real() + {seconds}"
    with commands(fleet, name, f"mkdir -p {place}; echo '{line}' >{place}/late.pth", f"rm {place}/late.pth"):
        yield


@contextmanager
def schema_behind(fleet: Fleet) -> Iterator[None]:
    """A database whose schema is a minor version behind."""

    def version(minor: str) -> str:
        program = (
            "from panda_node import config; from panda_node.db import drivers; "
            "c = drivers.connect(config.load().database, 10); u = c.cursor(); "
            "u.execute(\"select minor from pandadb_version where component = 'panda-node'\"); print(u.fetchone()[0]); "
            f"u.execute(\"update pandadb_version set minor = {minor} where component = 'panda-node'\"); c.commit()"
        )
        return str(
            fleet.host(NODES[0])
            .run_expect(
                [0],
                "systemd-run --pipe --wait --collect --quiet --property=User=atlpan "
                "--property=EnvironmentFile=/etc/sysconfig/panda_server_env "
                "--property=EnvironmentFile=-/etc/panda/panda_server_secrets.env /opt/panda/bin/python -c %s",
                program,
            )
            .stdout.strip()
        )

    minor = version("minor - 1")
    try:
        yield
    finally:
        version(minor)


def put(path: str, text: str) -> str:
    """A command that keeps a file aside and writes another text in its place."""
    return f"cp -p {path} {path}.kept; cat >{path} <<'E'\n{text}\nE"


@dataclass
class Planted:
    """A fault, and what is to be said of it. {0} stands for the node that has it, {1} for another one."""

    plant: Callable[[Fleet, str, str], AbstractContextManager[None]]
    column: str
    thing: str
    said: str


def by_command(plant: str, mend: str) -> Callable[[Fleet, str, str], AbstractContextManager[None]]:
    """A fault that shell commands plant and take away."""
    return lambda fleet, name, _: commands(fleet, name, plant, mend)


@contextmanager
def bad_release(fleet: Fleet, name: str, _: str) -> Iterator[None]:
    """A node whose active release is recorded as bad."""
    record = fleet.record(name)
    spoiled = {**record, "bad": {record["last_good"]: "isAlive did not answer"}}
    with commands(fleet, name, put(RECORD, json.dumps(spoiled)), f"mv {RECORD}.kept {RECORD}"):
        yield


DISK = "/var/cache/pandaserver"
FILL = (
    f"mkdir /root/kept; cp -a {DISK}/. /root/kept/; mode=$(stat -c %a {DISK}); owner=$(stat -c %U:%G {DISK}); "
    f"mount -t tmpfs -o size=4m tmpfs {DISK}; chmod $mode {DISK}; chown $owner {DISK}; cp -a /root/kept/. {DISK}/; "
    f"dd if=/dev/zero of={DISK}/fill bs=64k count=60 status=none"
)
OTHER = "0.0.1-0000000000"
LINK = (
    f"readlink /opt/panda >/root/link; ln -s $(basename $(cat /root/link)) /opt/panda.releases/{OTHER}; "
    f"ln -sfn panda.releases/{OTHER} /opt/panda"
)
HTTPD = "/etc/panda/panda_server-httpd.conf"
# One on each of three nodes at a time: each has to name itself, on its node, and nothing else.
ROUNDS: list[dict[str, Planted]] = [
    {
        "stopped unit": Planted(
            by_command("systemctl stop panda_daemon", "systemctl start panda_daemon"),
            "units", "panda_daemon.service", "is inactive → on {0}: systemctl start panda_daemon.service",
        ),
        "disabled unit": Planted(
            by_command("systemctl disable squid", "systemctl enable squid"),
            "units", "squid.service", "would not come back after a reboot → on {0}: systemctl enable squid.service",
        ),
        "wrong release link": Planted(
            by_command(
                LINK, f"ln -sfn $(cat /root/link) /opt/panda; rm /opt/panda.releases/{OTHER} /root/link"
            ),
            "release", "/opt/panda", f"leads to {OTHER}, and the last good release is",
        ),
    },
    {
        "drained node": Planted(
            by_command(
                put("/etc/panda/node_state", "draining")
                + '\necho \'{"by": "drain", "since": 1700000000, "files": []}\' >/etc/panda/drain.json',
                "mv /etc/panda/node_state.kept /etc/panda/node_state; rm /etc/panda/drain.json",
            ),
            "state", "{0}", "by drain since 2023-11-14 22:13 UTC",
        ),
        "full disk": Planted(by_command(FILL, f"umount {DISK}; rm -r /root/kept"), "disk", DISK, "% full"),
        "edited configuration": Planted(
            by_command(f"cp -p {HTTPD} /root/kept; echo '# by hand' >>{HTTPD}", f"mv /root/kept {HTTPD}"),
            "drift", "site.yml", f"would change 'Write the configuration of httpd' ({HTTPD})",
        ),
    },
    {
        "closed port": Planted(
            by_command(
                "firewall-cmd --quiet --policy=panda-server --remove-port=25443/tcp", "firewall-cmd --quiet --reload"
            ),
            "ports", "port 25443", "the control machine does not get through",
        ),
        "known bad release": Planted(
            bad_release, "release", "", "known to be bad: isAlive did not answer → ansible-playbook playbooks/roll",
        ),
        "certificate that expires soon": Planted(
            lambda fleet, name, _: other_certificate(fleet, name, 10, reload=True),
            "cert", CERTIFICATE, "expires in 9 days",
        ),
    },
    {
        "renewed certificate that is not served": Planted(
            lambda fleet, name, _: other_certificate(fleet, name, 200, reload=False),
            "cert", "port 25443", "than /etc/grid-security/hostcert.pem holds",
        ),
        "forgotten sibling": Planted(
            without_sibling, "squid", "{1}", "is a sibling by the inventory and not in /etc/squid/squid.conf",
        ),
        "clock that is off": Planted(
            lambda fleet, name, _: another_time(fleet, name, 90), "clock", "clock", "ahead of the control machine's",
        ),
    },
]  # fmt: skip


@pytest.mark.parametrize("planted", ROUNDS, ids=", ".join)
def test_each_planted_fault_names_itself_and_no_other(
    fleet: Fleet, health: Health, planted: dict[str, Planted]
) -> None:
    others = NODES[1:] + NODES[:1]
    with contextlib.ExitStack() as stack:
        for name, other, fault in zip(NODES, others, planted.values(), strict=False):
            stack.enter_context(fault.plant(fleet, name, other))
        report = health()
    expected = set()
    for name, other, fault in zip(NODES, others, planted.values(), strict=False):
        thing = fault.thing.format(name, other) or report.document["nodes"][name]["cells"][fault.column]
        expected.add((name, fault.column, thing))
        assert fault.said.format(name) in report.said(name)
        assert thing in report.terminal
    assert report.faults == expected
    assert len(expected) == len(planted)
    assert report.code == 2


def test_a_schema_that_is_behind(fleet: Fleet, health: Health) -> None:
    with schema_behind(fleet):
        report = health()
    assert report.faults == {(name, "schema", "database schema") for name in NODES}
    assert "1.1.0 is installed, and the active release needs 1.2.0" in report.said(NODES[0])


def test_a_balancer_that_keeps_a_ready_node_out_or_does_not_know_it_is_named(fleet: Fleet, health: Health) -> None:
    out, unknown, _ = NODES
    conf = "/etc/haproxy/haproxy.cfg"
    forget = f"cp -p {conf} {conf}.kept; sed -i '/ server {unknown} /d' {conf}; systemctl reload haproxy; sleep 1"

    def by_hand(state: str) -> str:
        ask = f"s.connect('/var/lib/haproxy/admin.sock'); s.send(b'set server panda_http/{out} state {state}\\n')"
        return f'python3 -c "import socket; s = socket.socket(socket.AF_UNIX); {ask}; print(s.recv(99))"'

    with (
        commands(fleet, BALANCER, forget, f"mv {conf}.kept {conf}; systemctl reload haproxy"),
        commands(fleet, BALANCER, by_hand("maint"), by_hand("ready")),
    ):
        report = health("-e", "health_drift=false")
    assert report.faults == {(out, "lb", BALANCER), (unknown, "lb", BALANCER)}
    assert "though it is ready: MAINT in panda_http" in report.said(out)
    assert "does not know this node (panda_http, panda_https, panda_cache)" in report.said(unknown)
    assert report.document["nodes"][NODES[2]]["cells"]["lb"] == "1/1"
    assert report.code == 2


def test_a_dead_sibling_is_named_by_itself_or_where_it_is_not_in_the_report_by_its_siblings(
    fleet: Fleet, health: Health
) -> None:
    name, dead = NODES[1], NODES[2]
    with commands(fleet, dead, "systemctl stop squid", "systemctl start squid"):
        whole, alone = health(), health("-l", name)
    assert whole.faults == {(dead, "units", "squid.service")}
    assert whole.document["nodes"][name]["cells"]["squid"] == f"{len(NODES) - 2}/{len(NODES) - 1}"
    assert alone.faults == {(name, "squid", dead)}
    assert "is dead as a sibling" in alone.said(name)


def test_a_node_that_cannot_be_reached_is_a_row_of_the_report(fleet: Fleet, health: Health) -> None:
    name = NODES[1]
    with fleet.without(name):
        report = health()
    assert report.faults == {(name, "state", name)}
    assert "cannot be reached" in report.said(name)
    assert report.code == 2
    assert set(report.document["nodes"]) == set(NODES)


def test_a_sound_fleet_exits_with_0_and_nothing_was_changed(fleet: Fleet, health: Health) -> None:
    listing = "find /etc /opt /usr/local /data /var/lib/panda /var/spool -xdev -printf '%p %T@ %C@ %m %u %g\\n' | sort"
    before = {name: shell(fleet, name, listing) for name in NODES}
    report = health()
    assert report.faults == set()
    assert report.code == 0, report.terminal
    assert {name: shell(fleet, name, listing) for name in NODES} == before
    assert f"{len(NODES)} nodes, no fault" in report.terminal
    rows = [line for line in report.terminal.splitlines() if line.startswith(("NODE", *NODES)) and ":" not in line]
    assert len(rows) == len(NODES) + 1
    assert max(map(len, rows)) <= 100


def test_no_secret_reaches_the_report(fleet: Fleet, health: Health) -> None:
    name = NODES[1]
    secret = shell(fleet, name, "cat /etc/panda/panda_server_secrets.env").partition("=")[2].strip('"')
    assert secret
    change = (
        "cp -p /etc/panda/panda_server_secrets.env /root/kept; echo 'X=\"y\"' >>/etc/panda/panda_server_secrets.env"
    )
    with commands(fleet, name, change, "mv /root/kept /etc/panda/panda_server_secrets.env"):
        report = health()
    assert report.faults == {(name, "drift", "site.yml")}
    for text in (report.terminal, json.dumps(report.document), report.page):
        assert secret not in text
        assert secret.replace("\\", "") not in text
        assert "PRIVATE KEY" not in text


def test_a_quick_look_leaves_drift_out(fleet: Fleet, health: Health) -> None:
    name = NODES[1]
    change = "cp -p /etc/panda/panda_common.cfg /root/kept; echo '# by hand' >>/etc/panda/panda_common.cfg"
    with commands(fleet, name, change, "mv /root/kept /etc/panda/panda_common.cfg"):
        report = health("-e", "health_drift=false")
    assert report.faults == set()
    assert report.document["nodes"][name]["cells"]["drift"] == "-"
    assert report.code == 0
