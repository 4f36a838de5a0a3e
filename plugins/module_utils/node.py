"""What modules that look at a node share. Nothing here changes anything."""

from __future__ import annotations

import glob
import json
import os
import re
import socket
import ssl
from typing import Any

from ansible.module_utils.basic import AnsibleModule

CONNECT_SECONDS = 5.0
LONGEST_TEXT = 1 << 18
# What systemd says of a unit that runs: it serves while it reloads.
RUNNING = ("active", "reloading")
OLD_UNITS = ["httpd-pandasrv.service", "panda_server.service"]
"""Of a PanDA server that was installed by other means, under names that the role does not use: both would run."""
PUPPET = [
    f"{name}.{kind}" for name in ("puppet", "puppet-agent", "pe-puppet", "puppet-run") for kind in ("service", "timer")
]
"""Units of the agent: of its own packages, of Puppet Enterprise, and of the module that sites run it by."""
PUPPET_COMMAND = re.compile(r"(\S*ruby\S* |\S*sh )?(\S*/)?puppet (agent|apply)\b")
NO_CRON_JOB = re.compile(r"\s*(#|$|\w+\s*=)")


def read_text(path: str) -> str:
    """The text of a file, as much of it as a configuration file has."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(LONGEST_TEXT)


def listening_inodes() -> dict[str, tuple[str, int]]:
    """Socket inode to (protocol, port) of every listening TCP and bound UDP socket."""
    found: dict[str, tuple[str, int]] = {}
    for name, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        try:
            with open(f"/proc/net/{name}") as table:
                rows = [line.split() for line in table][1:]
        except FileNotFoundError:
            continue
        for row in rows:
            if row[3] == state:
                found[row[9]] = (name[:3], int(row[1].rsplit(":", 1)[1], 16))
    return found


def owner(pid: str) -> dict[str, Any]:
    """Name of a process and the systemd unit it runs in."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            name = file.read().strip()
        with open(f"/proc/{pid}/cgroup") as file:
            units = re.findall(r"([^/\s]+\.(?:service|socket|scope))", file.read())
    except OSError:
        return {}
    return {"pid": int(pid), "process": name, "unit": units[-1] if units else ""}


def listeners() -> list[dict[str, Any]]:
    """Every listening socket with the process that holds it."""
    inodes = listening_inodes()
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(link))
        except OSError:
            continue
        if match and match.group(1) in inodes:
            key = inodes[match.group(1)]
            process = owner(link.split("/")[2])
            # The process with the smallest id is the parent of the others that share the socket.
            if process and process["pid"] < found.get(key, {}).get("pid", 1 << 30):
                found[key] = process
    for protocol, port in inodes.values():
        found.setdefault((protocol, port), {"pid": 0, "process": "unknown", "unit": ""})
    return [{"protocol": protocol, "port": port, **process} for (protocol, port), process in sorted(found.items())]


def connect(address: str) -> str:
    """Why a TCP connection cannot be opened; an empty string where it can."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def key_pair(certificate: str, key: str) -> str:
    """Why a certificate and a key do not belong together; an empty string where they do."""
    try:
        # An empty passphrase, so that a protected key is refused and nobody is asked for it.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return "it belongs to another certificate"
        return error.reason or "one of the two is not in PEM form, or the key has a passphrase"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def unit_properties(module: AnsibleModule, units: list[str], properties: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Properties of units, as `systemctl show` tells them."""
    _, out, _ = module.run_command(["systemctl", "show", f"--property={','.join(properties)}", *units])
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in out.strip().split("\n\n")
    ]
    # In the order asked for: an alias answers with the name of the unit it stands for.
    return {unit: block for unit, block in zip(units, blocks) if "LoadState" in block}


def unit_states(module: AnsibleModule, units: list[str]) -> dict[str, dict[str, str]]:
    """Load, enablement and activity of units."""
    found = unit_properties(module, units, ("Id", "LoadState", "UnitFileState", "ActiveState"))
    return {
        unit: {"load": block["LoadState"], "enabled": block["UnitFileState"], "active": block["ActiveState"]}
        for unit, block in found.items()
    }


def starting(module: AnsibleModule, units: list[str]) -> dict[str, str]:
    """Those of the units that run, or that systemd starts at the next boot, with what is said of each.

    A unit that is static, linked or made from a SysV script says nothing by its state; what wants it does.
    """
    found = {}
    properties = ("Id", "LoadState", "UnitFileState", "ActiveState", "WantedBy", "RequiredBy")
    for unit, block in unit_properties(module, units, properties).items():
        state, active = block.get("UnitFileState", ""), block.get("ActiveState", "")
        wanting = f"{block.get('WantedBy', '')} {block.get('RequiredBy', '')}".split()
        words = [active] if active in ("active", "activating", "reloading") else []
        # Links to a unit that is masked or gone stay, and start nothing.
        loaded = block["LoadState"] == "loaded"
        if loaded and state in ("enabled", "enabled-runtime"):
            words.append(state)
        elif loaded and wanting:
            words.append(f"wanted by {', '.join(wanting)}")
        if words:
            found[block.get("Id", unit)] = " and ".join(words)
    return found


def puppet(module: AnsibleModule, root: str = "") -> list[str]:
    """What runs a Puppet agent here, now or later, with the way to turn each off. `root` is for the tests."""
    units = starting(module, PUPPET)
    # disable leaves what a package wants; mask leaves a file in /etc/systemd/system, which disable takes.
    found = [
        f"{unit} is {said} (systemctl disable --now {unit}; where that leaves it, systemctl mask --now {unit})"
        for unit, said in units.items()
    ]
    tables = [f"{root}/etc/crontab", f"{root}/var/spool/cron/root", f"{root}/var/spool/cron/crontabs/root"]
    for path in [*tables, *sorted(glob.glob(f"{root}/etc/cron.*/*"))]:
        try:
            lines = read_text(path).splitlines()
        except OSError:
            continue
        by_name = "puppet" in os.path.basename(path)
        jobs = [
            number
            for number, line in enumerate(lines, 1)
            if not NO_CRON_JOB.match(line) and (by_name or re.search(r"\bpuppet +(agent|apply)\b", line))
        ]
        if jobs:
            found.append(f"{path}, line {jobs[0]}, runs it (take it out)")
    for path in glob.glob(f"{root}/proc/[0-9]*/cmdline"):
        try:
            command = read_text(path).replace("\0", " ").strip()
        except OSError:
            continue
        pid = path.split("/")[-2]
        if PUPPET_COMMAND.match(command) and owner(pid).get("unit") not in units:
            found.append(f"process {pid} is `{command}` (wait for its end, or kill {pid})")
    return found


def record(path: str) -> Any:
    """A JSON file; nothing where there is none or it is damaged."""
    try:
        return json.loads(read_text(path))
    except (OSError, ValueError):
        return None
