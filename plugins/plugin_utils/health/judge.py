"""Tell what is wrong with a node from what was seen of it. Plain functions: everything they know is handed to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils.health import questions
from ansible_collections.panda.provision.plugins.plugin_utils.preflight import certificates
from cryptography import x509
from cryptography.exceptions import InvalidSignature

COLUMNS = ("state", "units", "ports", "release", "schema", "cert", "squid", "clock", "disk", "drift")
NOT_SEEN = "-"
CERTIFICATES_TAG = "panda_server_certificates"
FLAPPING_SECONDS = 600
"""A unit that has run for longer than this does not flap, however often it was restarted before."""
STATES = ("production", "draining", "maintenance")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a node, and what to do about it."""

    column: str
    thing: str
    what: str
    remedy: str
    explains: tuple[str, ...] = ()
    """Paths and units that site.yml would change because of it, or the tag of a task that does not say."""


@dataclass(frozen=True)
class Limits:
    """Where a fault begins."""

    certificate_days: int = 30
    clock_seconds: float = 2.0
    disk_percent: int = 90
    restarts: int = 3
    ntp: bool = True


@dataclass
class Node:
    """What is reported of a node: a text for each column, the faults, and what else was found."""

    name: str
    address: str
    cells: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def faulty(self) -> set[str]:
        """The columns that have a fault."""
        return {fault.column for fault in self.faults}


def fleet(
    findings: Mapping[str, Mapping[str, Any]], changes: Mapping[str, list[dict[str, Any]]] | None, limits: Limits
) -> list[Node]:
    """Judge every node, then leave out what is only the consequence of a fault that is named already.

    `findings` is what node_report returned for each host, `changes` what site.yml would change on each; None where
    that was not looked at.
    """
    nodes = [
        node(name, found, None if changes is None else changes.get(name, []), limits)
        for name, found in findings.items()
    ]
    by_name = {judged.name: judged for judged in nodes}
    for judged in nodes:
        judged.faults = [fault for fault in judged.faults if not explained(fault, judged, by_name)]
    return nodes


def node(name: str, found: Mapping[str, Any], changes: list[dict[str, Any]] | None, limits: Limits) -> Node:
    """Judge one node."""
    wanted, seen = found.get("expected") or {}, found.get("seen") or {}
    judged = Node(name, wanted.get("address", name), dict.fromkeys(COLUMNS, NOT_SEEN))
    if found.get("trouble"):
        judged.cells["state"] = "unreachable" if "reached" in found["trouble"] else "unknown"
        judged.faults.append(
            Fault("state", name, found["trouble"], f"look yourself: ansible {name} -m ansible.builtin.ping -vvv")
        )
        return judged
    judged.changes = changes or []
    if bare(wanted, seen):
        judged.cells["state"] = "bare"
        judged.faults.append(
            Fault("state", name, "is not provisioned: it has neither a release nor panda.service", site(name))
        )
        return judged
    outside = found.get("outside") or {}
    judgements: dict[str, Callable[[], tuple[str, list[Fault]]]] = {
        "state": lambda: state(wanted, seen),
        "units": lambda: units(wanted, seen, limits),
        "ports": lambda: ports(wanted, seen, outside),
        "release": lambda: release(wanted, seen),
        "schema": lambda: schema(wanted, seen),
        "cert": lambda: certificate(wanted, seen, limits),
        "squid": lambda: siblings(wanted, seen),
        "clock": lambda: clock(wanted, seen, limits),
        "disk": lambda: disk(wanted, seen, limits),
    }
    for column, judgement in judgements.items():
        judged.cells[column], faults = judgement()
        judged.faults += faults
    if changes is not None:
        judged.cells["drift"], faults = drift(name, changes, judged.faults)
        judged.faults += faults
    judged.seen = summary(wanted, seen, outside)
    if wanted["offboarded"]:
        judged.notes.append("taken out of the fleet (group panda_offboarded): shown, not judged")
        judged.cells |= {"state": "offboarded", "drift": NOT_SEEN}
        judged.faults = []
    return judged


def site(name: str, *more: str) -> str:
    """The command that makes a node as it should be."""
    return " ".join(["ansible-playbook site.yml -l", name, *more])


def bare(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    """Whether nobody has begun to provision this node."""
    unit = seen["units"].get("panda.service", {})
    return unit.get("load") != "loaded" and not seen["links"][wanted["panda_server_prefix"]]["there"]


def active(seen: Mapping[str, Any], unit: str) -> bool:
    """Whether a unit runs."""
    return bool(seen["units"].get(unit, {}).get("active") == "active")


def units(wanted: Mapping[str, Any], seen: Mapping[str, Any], limits: Limits) -> tuple[str, list[Fault]]:
    """Units that run, come back after a reboot, and do not start again and again."""
    name = wanted["name"]
    if not seen["systemd"]:
        return NOT_SEEN, [Fault("units", "systemd", "does not run here", "boot the host with systemd")]
    faults: list[Fault] = []
    sound = 0
    parent = active(seen, "panda.service")
    for unit in wanted["units"]:
        is_like = seen["units"].get(unit, {})
        before = len(faults)
        if is_like.get("load") == "masked":
            faults.append(
                Fault("units", unit, "is masked: it cannot be started", f"on {name}: systemctl unmask {unit}")
            )
        elif is_like.get("load") != "loaded":
            faults.append(Fault("units", unit, "is not installed", site(name)))
        else:
            # Children stop with their parent: it is the one to mend.
            follows = unit.startswith("panda_") and not parent
            if is_like["active"] != "active" and not follows:
                faults.append(Fault("units", unit, inactive(is_like), f"on {name}: {start(unit)}", (unit,)))
            elif flaps(is_like, limits):
                faults.append(
                    Fault(
                        "units", unit,
                        f"was restarted {is_like['restarts']} times, last {is_like['active_seconds']} s ago",
                        f"on {name}: journalctl -u {unit}",
                    )
                )  # fmt: skip
            if is_like["enabled"] != "enabled":
                what = f"is {is_like['enabled'] or 'not enabled'}: it would not come back after a reboot"
                faults.append(Fault("units", unit, what, f"on {name}: systemctl enable {unit}", (unit,)))
        sound += len(faults) == before and is_like.get("active") == "active"
    return f"{sound}/{len(wanted['units'])}", faults


def inactive(is_like: Mapping[str, Any]) -> str:
    """What a unit that is not active is."""
    said = f": {is_like['status']}" if is_like["status"] else ""
    if is_like["active"] == "activating":
        return f"does not come up ({is_like['restarts']} restarts){said}"
    # What a unit said last before it was stopped explains nothing.
    return f"is failed ({is_like['result']}){said}" if is_like["active"] == "failed" else f"is {is_like['active']}"


def start(unit: str) -> str:
    """How to start a unit, or to see why it does not."""
    return f"systemctl start {unit}; why it ended: journalctl -u {unit} -n 50"


def flaps(is_like: Mapping[str, Any], limits: Limits) -> bool:
    """Whether a unit was started anew several times, and a short while ago."""
    since = is_like["active_seconds"]
    return is_like["restarts"] >= limits.restarts and since is not None and since < FLAPPING_SECONDS


def ports(wanted: Mapping[str, Any], seen: Mapping[str, Any], outside: Mapping[str, str]) -> tuple[str, list[Fault]]:
    """Ports that the right unit holds and that the control machine reaches, and an application that answers."""
    name = wanted["name"]
    faults: list[Fault] = []
    open_ports = 0
    for port, unit in wanted["ports"].items():
        holder = next((found for found in seen["listeners"] if str(found["port"]) == port), None)
        reason = outside.get(port, "")
        if holder is None:
            # Where its unit does not run, that is the fault.
            if active(seen, unit):
                what = f"nobody listens, though {unit} is active"
                faults.append(Fault("ports", f"port {port}", what, f"on {name}: journalctl -u {unit} -n 50"))
        elif holder["unit"] not in ("", unit):
            what = f"is held by {holder['process']} (process {holder['pid']}, {holder['unit']}), not by {unit}"
            faults.append(Fault("ports", f"port {port}", what, f"on {name}: systemctl stop {holder['unit']}"))
        elif reason:
            what = f"{unit} listens, and the control machine does not get through: {reason}"
            remedy = (
                f"on {name}: firewall-cmd --reload, then firewall-cmd --info-policy={policy(unit)}; "
                "if the port is listed there, a firewall of the site is in the way"
            )
            faults.append(Fault("ports", f"port {port}", what, remedy))
        else:
            open_ports += 1
    url = questions.urls(wanted)["alive"]
    said = seen["answers"].get(url)
    if said and (said["status"] != 200 or "alive=yes" not in said["body"]):
        what = f"answers {said['status'] or 'nothing'}: {said['body'][:120].strip()}"
        faults.append(Fault("ports", url, what, f"on {name}: journalctl -u panda_wsgi -u panda_httpd -n 50"))
    return f"{open_ports}/{len(wanted['ports'])}", faults


def policy(unit: str) -> str:
    """The firewall policy that opens the ports of a unit."""
    return "panda-squid" if unit == "squid.service" else "panda-server"


def release(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> tuple[str, list[Fault]]:
    """The active release is there, is the last good one, is not known to be bad, and is what runs."""
    name, prefix = wanted["name"], wanted["panda_server_prefix"]
    place = seen["links"][prefix]
    record = seen["records"].get(questions.record_of_releases(wanted)) or {}
    last_good, bad = record.get("last_good"), record.get("bad") or {}
    chosen = place["target"].rstrip("/").rpartition("/")[2]
    running = running_release(wanted, seen)
    back = f"ansible-playbook playbooks/rollback.yml -l {name}"
    thing, remedy = prefix, site(name)
    if not place["target"]:
        what = "is no link to a release" if place["there"] else "is missing: no release is active"
    elif not place["leads"]:
        what = f"leads to {place['target']}, which is not there"
    elif chosen in bad:
        thing, what, remedy = chosen, f"is active and known to be bad: {bad[chosen]}", back
    elif last_good is None:
        thing, what = chosen, "is active and has never passed its health gate"
    elif chosen != last_good:
        what = f"leads to {chosen}, and the last good release is {last_good}"
        remedy = f"{back}, or finish what was begun: {site(name)}"
    elif running and running != chosen:
        what = f"leads to {chosen}, and the application still runs {running}"
        remedy = f"on {name}: systemctl restart panda_wsgi panda_daemon"
    else:
        return chosen, []
    return chosen or NOT_SEEN, [Fault("release", thing, what, remedy, (prefix,))]


def running_release(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> str:
    """The release that the application says it runs; empty where it does not say."""
    said = seen["answers"].get(questions.urls(wanted)["live"], {}).get("body", "")
    match = re.search(r'"release": ?"([^"]+)"', said)
    return match.group(1) if match else ""


def state(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> tuple[str, list[Fault]]:
    """The node is meant to serve, and says that it is ready to."""
    name = wanted["name"]
    held = seen["records"].get(questions.DRAIN_RECORD) or {}
    found = seen["texts"].get(questions.STATE_FILE, "").strip()
    by = held.get("by", "")
    since = held.get("since")
    when = f" since {moment(since)} ({lasting(seen['begun'] - since)})" if since else ""
    if found not in STATES:
        what = f"holds '{found}'" if found else "is missing or empty"
        remedy = f"on {name}: write one of {', '.join(STATES)} to {questions.STATE_FILE}"
        return "unknown", [Fault("state", questions.STATE_FILE, what, remedy)]
    if held:
        where = f"is {found}, held out of service by {by or 'somebody'}{when}"
        back = f"ansible-playbook playbooks/undrain.yml -l {name}"
        if by not in ("", "drain"):
            back = f"repeat playbooks/{by}.yml, which brings it back; or {back} -e drained_by={by}"
        return found, [Fault("state", name, where, back)]
    if found != "production":
        what = f"is {'in ' if found == 'maintenance' else ''}{found}, set by hand"
        remedy = f"when the work on it is done, on {name}: echo production > {questions.STATE_FILE}"
        return found, [Fault("state", name, what, remedy)]
    said = seen["answers"].get(questions.urls(wanted)["ready"])
    if said and said["status"] != 200:
        what = f"is in production and not ready: {reasons(said['body'])}"
        return found, [Fault("state", "/node/ready", what, f"on {name}: tail /var/log/panda/panda-DBProxyPool.log")]
    return found, []


def reasons(body: str) -> str:
    """What /node/ready gives as reasons."""
    match = re.search(r'"reasons": ?\[(.*?)\]', body, re.DOTALL)
    return match.group(1).replace('"', "").strip() if match else body[:200].strip() or "it does not say why"


def moment(seconds: float) -> str:
    """A time as people read it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def lasting(seconds: float) -> str:
    """A duration as people say it."""
    for unit, size in (("d", 86400), ("h", 3600)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 60:.0f} min"


def schema(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> tuple[str, list[Fault]]:
    """The database has the schema that the active release needs."""
    told = seen["schema"]
    if not told or not seen["links"][wanted["panda_server_prefix"]]["leads"]:
        return NOT_SEEN, []
    if not told["fault"]:
        return told["installed"], []
    if not told["required"]:
        return "unknown", [Fault("schema", "panda-node schema show", f"says: {told['fault']}", site(wanted["name"]))]
    remedy = "have the owner of the database upgrade it, or set panda_server_schema_manage and run site.yml"
    if told["installed"]:
        what = f"{told['installed']} is installed, and the active release needs {told['required']}"
        return f"{told['installed']}<{told['required']}", [Fault("schema", "database schema", what, remedy)]
    if "no schema" in told["fault"]:
        return "none", [Fault("schema", "database schema", f"is missing; {told['required']} is needed", remedy)]
    remedy = f"check that it runs, and that {wanted['name']} may reach it"
    return "unknown", [Fault("schema", "database", f"does not answer: {told['fault']}", remedy)]


def certificate(wanted: Mapping[str, Any], seen: Mapping[str, Any], limits: Limits) -> tuple[str, list[Fault]]:
    """The host certificate is current, made for the service, has its key and its chain, and is the one served."""
    name, path, chain = wanted["name"], wanted["panda_server_hostcert"], wanted["panda_server_chain"]
    renew = f"put a renewed one there, then: {site(name, '-t', CERTIFICATES_TAG)}"
    pem = seen["texts"].get(path)
    if pem is None:
        return "none", [Fault("cert", path, "is missing", renew)]
    if not certificates.readable(pem):
        return "unknown", [Fault("cert", path, "is not a certificate in PEM form", renew)]
    loaded = x509.load_pem_x509_certificate(pem.encode())
    days = (loaded.not_valid_after_utc - datetime.fromtimestamp(seen["begun"], UTC)).days
    faults = []
    for fault in certificates.faults(path, pem, [wanted["panda_server_servername"]], seen["begun"]):
        what, _, remedy = fault.removeprefix(f"{path}: ").rpartition(": ")
        faults.append(Fault("cert", path, what, remedy))
    if 0 <= days < limits.certificate_days:
        what = f"expires in {days} days, on {loaded.not_valid_after_utc:%Y-%m-%d}"
        faults.append(Fault("cert", path, what, f"have it renewed; {renew}"))
    if seen["key_fault"]:
        what = f"does not fit {path}: {seen['key_fault']}"
        faults.append(Fault("cert", wanted["panda_server_hostkey"], what, renew))
    faults += chain_faults(chain, seen["texts"].get(chain), loaded, renew)
    port = wanted["panda_server_port_ssl"]
    if seen["served"]["pem"]:
        served = x509.load_pem_x509_certificate(seen["served"]["pem"].encode())
        if served != loaded:
            what = (
                f"serves another certificate (until {served.not_valid_after_utc:%Y-%m-%d}) than {path} "
                f"holds (until {loaded.not_valid_after_utc:%Y-%m-%d})"
            )
            faults.append(Fault("cert", f"port {port}", what, f"on {name}: systemctl reload panda_httpd"))
    elif active(seen, "panda_httpd.service"):
        what = f"does not serve TLS: {seen['served']['error']}"
        faults.append(Fault("cert", f"port {port}", what, f"on {name}: journalctl -u panda_httpd -n 50"))
    files = (path, chain, wanted["panda_server_hostkey"], CERTIFICATES_TAG)
    return f"{days} d", [replace(fault, explains=files) for fault in faults]


def chain_faults(path: str, pem: str | None, certificate: x509.Certificate, renew: str) -> list[Fault]:
    """The chain holds the authority that signed the certificate."""
    if pem is None:
        return [Fault("cert", path, "is missing", renew)]
    try:
        chain = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return [Fault("cert", path, "is not a certificate in PEM form", renew)]
    if any(signed_by(certificate, authority) for authority in chain):
        return []
    what = f"does not hold the authority that signed the host certificate ({certificate.issuer.rfc4514_string()})"
    return [Fault("cert", path, what, renew)]


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether an authority signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def siblings(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> tuple[str, list[Fault]]:
    """squid knows the siblings that the inventory says, no others, and they answer."""
    name, conf = wanted["name"], questions.SQUID_CONF
    known = {peer["name"]: peer["address"] for peer in seen["peers"]}
    answering = 0
    faults = []
    for host, address in wanted["siblings"].items():
        said = seen["siblings"].get(known.get(host, address), {})
        if host not in known:
            what = f"is a sibling by the inventory and not in {conf}"
            faults.append(Fault("squid", host, what, site(name), (conf, questions.SQUID_POLICY)))
        elif said.get("icp") == "denied":
            what = "refuses what this node asks: its own squid does not know this node as a sibling"
            faults.append(Fault("squid", host, what, site(host)))
        elif said.get("icp") != "answers" or said.get("http"):
            port = f"{wanted['squid_icp_port']}/udp" if said.get("icp") != "answers" else f"{wanted['squid_port']}/tcp"
            what = f"is dead as a sibling: no answer on {port} of {known[host]} {said.get('http', '')}".rstrip()
            remedy = f"on {host}: systemctl status squid; between the nodes: is port {port} open?"
            faults.append(Fault("squid", host, what, remedy))
        else:
            answering += 1
    faults += [
        Fault(
            "squid",
            host,
            f"is in {conf} as a sibling and is none by the inventory",
            site(name),
            (conf, questions.SQUID_POLICY),
        )
        for host in known
        if host not in wanted["siblings"]
    ]
    return f"{answering}/{len(wanted['siblings'])}", faults


def clock(wanted: Mapping[str, Any], seen: Mapping[str, Any], limits: Limits) -> tuple[str, list[Fault]]:
    """The node's clock agrees with the control machine's, and something keeps it right.

    What the way there and back took bounds what can be said, so only what is beyond that bound counts.
    """
    offset, bound = offset_of(seen)
    name = wanted["name"]
    faults = []
    if abs(offset) - bound > limits.clock_seconds:
        what = f"is {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} the control machine's"
        remedy = (
            f"on {name}: timedatectl; chronyc makestep. If the other nodes are off too, it is the control machine's"
        )
        faults.append(Fault("clock", "clock", what, remedy))
    # A container's clock is its host's.
    if limits.ntp and not seen["container"] and seen["ntp"] == "no":
        faults.append(
            Fault("clock", "NTP", "does not keep the clock right", f"on {name}: systemctl enable --now chronyd")
        )
    return f"{0.0 if abs(offset) <= bound else offset:+.1f} s", faults


def offset_of(seen: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds that the node's clock is ahead of the control machine's, and how far that may be wrong."""
    there, back = seen["begun"] - seen["sent"], seen["ended"] - seen["received"]
    return (there + back) / 2, abs(there - back) / 2


def disk(wanted: Mapping[str, Any], seen: Mapping[str, Any], limits: Limits) -> tuple[str, list[Fault]]:
    """The file systems that fill up have room."""
    faults = []
    for path, measured in seen["disks"].items():
        for kind, share in (("full", measured["used_percent"]), ("out of inodes", measured["files_percent"])):
            if share >= limits.disk_percent:
                what = f"its file system is {share} % {kind}" if kind == "full" else f"its inodes are {share} % used"
                room = f", {measured['free_bytes'] / 1e6:,.0f} MB left" if kind == "full" else ""
                faults.append(
                    Fault(
                        "disk", path, what + room, f"on {wanted['name']}: du -xh --max-depth=2 {path} | sort -h | tail"
                    )
                )
    worst = max((measured["used_percent"] for measured in seen["disks"].values()), default=None)
    return (NOT_SEEN if worst is None else f"{worst} %"), same_file_system(faults, seen)


def same_file_system(faults: Iterable[Fault], seen: Mapping[str, Any]) -> list[Fault]:
    """One fault for folders of one file system."""
    found: dict[tuple[Any, ...], Fault] = {}
    for fault in faults:
        measured = seen["disks"][fault.thing]
        key = (fault.what, measured.get("device"))
        found.setdefault(key, fault)
    return list(found.values())


def drift(name: str, changes: Sequence[Mapping[str, Any]], others: Sequence[Fault]) -> tuple[str, list[Fault]]:
    """What site.yml would change, which is nothing on a node that is as the inventory says.

    What it would mend of the other faults is theirs to tell.
    """
    changed = [change for change in changes if change["state"] == "changed" and not change["handler"]]
    follows = [change for change in changes if change["state"] == "changed" and change["handler"]]
    refused = [change for change in changes if change["state"] == "failed"]
    faults = []
    for change in refused:
        if not accounted(change, others):
            what = f"--check stops at '{change['task']}': {'; '.join(change['faults']) or change['message']}"
            faults.append(Fault("drift", "site.yml", what, f"mend that, then {site(name)}"))
    unexplained = [change for change in changed if not accounted(change, others)]
    if unexplained:
        what = f"would change {'; '.join(map(change_text, unexplained))}"
        if follows:
            what += f"; and then {'; '.join(map(change_text, follows))}"
        look = site(name, "--check --diff")
        remedy = f"look: {look}; then {site(name)}, or put into the inventory what is meant to stay"
        faults.append(Fault("drift", "site.yml", what, remedy))
    return "refused" if refused else str(len(changed)) if changed else "none", faults


def accounted(change: Mapping[str, Any], others: Sequence[Fault]) -> bool:
    """Whether what site.yml would change, or refuses, is named by other faults already."""
    named = {thing for other in others for thing in (other.thing, *other.explains)}
    if change["state"] == "failed":
        return bool(change["faults"]) and all(any(thing in text for thing in named) for text in change["faults"])
    if change["items"]:
        return set(change["items"]) <= named
    return not named.isdisjoint(change["tags"])


def change_text(change: Mapping[str, Any]) -> str:
    """A task that would change something, and what."""
    return f"'{change['task']}'" + (f" ({', '.join(change['items'])})" if change["items"] else "")


def explained(fault: Fault, judged: Node, nodes: Mapping[str, Node]) -> bool:
    """Whether a fault is only the consequence of another one in the report."""
    others = [other for other in judged.faults if other is not fault]
    if fault.column == "squid" and fault.thing in nodes:
        # A sibling that is down, or does not know this node, says so in its own row.
        sick = nodes[fault.thing]
        reasons = {other.thing for other in sick.faults if other.column in ("units", "ports", "state", "squid")}
        if "refuses" in fault.what:
            return judged.name in reasons
        return "is dead" in fault.what and any(
            thing in ("squid.service", sick.name) or thing == fault_port(fault) for thing in reasons
        )
    database = any(other.column == "schema" for other in others)
    if fault.thing == "/node/ready":
        return database
    return fault.thing == "panda.service" and "DB schema check" in fault.what and database


def fault_port(fault: Fault) -> str:
    """The port that a dead sibling does not answer on, as its own row names it."""
    match = re.search(r"no answer on (\d+)/tcp", fault.what)
    return f"port {match.group(1)}" if match else ""


def summary(wanted: Mapping[str, Any], seen: Mapping[str, Any], outside: Mapping[str, str]) -> dict[str, Any]:
    """What was seen of a node, for programs. Nothing secret: no text of a file but what stands here."""
    record = seen["records"].get(questions.record_of_releases(wanted)) or {}
    place = seen["links"][wanted["panda_server_prefix"]]
    offset, bound = offset_of(seen)
    return {
        "units": seen["units"],
        "ports": {
            port: {
                "unit": unit,
                "listener": next((found["unit"] for found in seen["listeners"] if str(found["port"]) == port), None),
                "from_control_machine": outside.get(port, "open") or "open" if outside else None,
            }
            for port, unit in wanted["ports"].items()
        },
        "release": {
            "active": place["target"].rpartition("/")[2] or None,
            "running": running_release(wanted, seen) or None,
            "last_good": record.get("last_good"),
            "good": record.get("good", []),
            "bad": record.get("bad", {}),
        },
        "state": {
            "node_state": seen["texts"].get(questions.STATE_FILE, "").strip() or None,
            "drained": seen["records"].get(questions.DRAIN_RECORD),
            "ready": (seen["answers"].get(questions.urls(wanted)["ready"]) or {}).get("status") == 200,
        },
        "schema": seen["schema"],
        "certificate": certificate_summary(wanted, seen),
        "squid": {
            "inventory": sorted(wanted["siblings"]),
            "configured": sorted(peer["name"] for peer in seen["peers"]),
            "asked": {peer["name"]: seen["siblings"].get(peer["address"], {}) for peer in seen["peers"]},
        },
        "clock": {
            "offset_seconds": round(offset, 3),
            "uncertainty_seconds": round(bound, 3),
            "ntp": seen["ntp"] or None,
            "container": seen["container"] or None,
        },
        "disk": seen["disks"],
    }


def certificate_summary(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    """The certificate on disk, and whether it is the one served."""
    pem = seen["texts"].get(wanted["panda_server_hostcert"], "")
    if not certificates.readable(pem):
        return {}
    loaded = x509.load_pem_x509_certificate(pem.encode())
    served = seen["served"]["pem"]
    return {
        "subject": loaded.subject.rfc4514_string(),
        "issuer": loaded.issuer.rfc4514_string(),
        "names": certificates.subject_names(loaded),
        "expires": loaded.not_valid_after_utc.isoformat(),
        "served_is_on_disk": x509.load_pem_x509_certificate(served.encode()) == loaded if served else None,
    }
