#!/usr/bin/python
"""Say how a node is. The action plugin of the same name says what to look at and keeps the time."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_report
short_description: Say how a node is
description:
  - Looks at a node once and returns what it saw. What of it is a fault is judged on the control machine.
  - Changes nothing and starts nothing. The application is asked only while it runs, for a request would start it.
  - Takes a node as it is. What is not there, on a bare or a half provisioned one, is absent from the answer.
options:
  look:
    description: What to look at; the action plugin makes it from the roles' variables.
    type: dict
    required: true
    suboptions:
      units: {description: systemd units., type: list, elements: str, default: []}
      application:
        description: Units without which no URL is asked.
        type: list
        elements: str
        default: []
      ports: {description: TCP ports whose holder to name., type: list, elements: int, default: []}
      urls: {description: URLs to ask., type: list, elements: str, default: []}
      texts: {description: Files to read; nothing secret., type: list, elements: path, default: []}
      records: {description: JSON files to read., type: list, elements: path, default: []}
      links: {description: Symbolic links to follow., type: list, elements: path, default: []}
      folders: {description: Folders whose file system to measure., type: list, elements: path, default: []}
      tls_port: {description: Port that serves the certificate., type: int, required: true}
      key_pair: {description: Certificate and its key., type: list, elements: path, required: true}
      schema_command: {description: Prints which schema is there and which is needed., type: list, elements: str}
      squid_conf: {description: squid's configuration., type: path, default: /etc/squid/squid.conf}
      siblings: {description: Addresses of the siblings., type: list, elements: str, default: []}
      squid_port: {description: TCP port of squid., type: int, required: true}
      icp_port: {description: UDP port on which siblings ask each other., type: int, required: true}
      icp_url: {description: URL to ask siblings for., type: str, required: true}
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Look at the node
  panda.provision.node_report:
  register: health_node
"""

RETURN = r"""
node:
  description: >-
    What was seen: begun and ended (the node's clock), systemd, container, units, listeners, answers, texts, records,
    links, disks, served, key_fault, schema, peers, siblings, ntp.
  type: dict
  returned: success
"""

import http.client
import json
import os
import shutil
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.panda.provision.plugins.module_utils.asking import fetch, served_certificate
from ansible_collections.panda.provision.plugins.module_utils.node import (
    RUNNING,
    connect,
    key_pair,
    listeners,
    read_text,
    record,
    unit_properties,
)

ASK_SECONDS = 10.0
ICP_TRIES = 3
ICP_SECONDS = 0.7
ICP_QUERY = 1
ICP_DENIED = 22
LONGEST_BODY = 2000
UNIT_PROPERTIES = (
    "Id", "LoadState", "UnitFileState", "ActiveState", "SubState", "Result", "NRestarts", "StatusText",
    "ActiveEnterTimestampMonotonic",
)  # fmt: skip


def units(module: AnsibleModule, names: list[str]) -> dict[str, dict[str, Any]]:
    """What systemd says of units."""
    with open("/proc/uptime") as file:
        uptime = float(file.read().split()[0])
    found = {}
    for unit, block in unit_properties(module, names, UNIT_PROPERTIES).items():
        entered = int(block.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
        found[unit] = {
            "load": block["LoadState"],
            "enabled": block.get("UnitFileState", ""),
            "active": block.get("ActiveState", ""),
            "sub": block.get("SubState", ""),
            "result": block.get("Result", ""),
            "status": block.get("StatusText", ""),
            # Only services count them.
            "restarts": int(block.get("NRestarts") or 0),
            "active_seconds": round(uptime - entered) if entered and block.get("ActiveState") == "active" else None,
        }
    return found


def answer(url: str) -> dict[str, Any]:
    """What a URL of the node answers: its status (0 where nothing does) and its body."""
    try:
        status, body = fetch(url, ASK_SECONDS)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return {"status": 0, "body": str(getattr(error, "reason", error))}
    return {"status": status, "body": body[:LONGEST_BODY]}


def served(port: int) -> dict[str, str]:
    """The certificate that a port serves, or why none."""
    try:
        return {"pem": served_certificate(port, ASK_SECONDS), "error": ""}
    except OSError as error:
        return {"pem": "", "error": str(error)}


def disk(path: str) -> dict[str, Any]:
    """How full the file system of a folder is, as an unprivileged service finds it; nothing without a folder."""
    try:
        seen, device = os.statvfs(path), os.stat(path).st_dev
    except OSError:
        return {}
    used = seen.f_blocks - seen.f_bfree
    files = seen.f_files - seen.f_ffree
    return {
        "device": device,
        "used_percent": percent(used, used + seen.f_bavail),
        "free_bytes": seen.f_bavail * seen.f_frsize,
        # A file system without a limit says 0.
        "files_percent": percent(files, files + seen.f_favail) if seen.f_files else 0,
    }


def percent(part: int, whole: int) -> int:
    """A share as df shows it, rounded up."""
    return -(-100 * part // whole) if whole else 100


def peers(path: str) -> list[dict[str, str]]:
    """The siblings in squid's configuration."""
    try:
        text = read_text(path)
    except OSError:
        return []
    found = []
    for words in (line.split() for line in text.splitlines()):
        if words[:1] == ["cache_peer"] and words[2:3] == ["sibling"]:
            names = [word[len("name=") :] for word in words if word.startswith("name=")]
            found.append({"name": names[0] if names else words[1], "address": words[1]})
    return found


def icp(address: str, port: int, url: str) -> str:
    """Ask a sibling whether it holds an object, as squid does: answers, denied or silent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    text = url.encode() + b"\0"
    # Opcode, version, length, number of the request, three fields for extensions, address of the asker.
    query = struct.pack("!BBHI4x4x4x4x", ICP_QUERY, 2, 24 + len(text), os.getpid()) + text
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(ICP_SECONDS)
        for _ in range(ICP_TRIES):
            try:
                asking.connect((address, port))
                asking.send(query)
                said = asking.recv(1 << 14)
            except OSError:  # a refusal too: nothing listens there
                continue
            return "denied" if said[:1] == bytes([ICP_DENIED]) else "answers"
    return "silent"


def sibling(address: str, look: dict[str, Any]) -> dict[str, str]:
    """Whether a sibling answers this node on both of its ports."""
    host = f"[{address}]" if ":" in address else address
    return {
        "icp": icp(address, look["icp_port"], look["icp_url"]),
        "http": connect(f"{host}:{look['squid_port']}"),
    }


def schema(module: AnsibleModule, command: list[str]) -> dict[str, str]:
    """Which schema is there and which the active release needs; why it cannot be told, where it cannot."""
    if not command or not shutil.which("systemd-run"):
        return {}
    code, out, err = module.run_command(command)
    try:
        found: dict[str, str] = json.loads(out)
    except ValueError:
        return {"required": "", "installed": "", "fault": (err or out).strip()[-300:] or f"answered {code}"}
    return found


def link(path: str) -> dict[str, Any]:
    """What stands at the place of a link, where it leads, and whether that is there."""
    target = os.readlink(path) if os.path.islink(path) else ""
    return {"there": os.path.lexists(path), "target": target, "leads": os.path.exists(path)}


def ntp(module: AnsibleModule) -> str:
    """Whether the kernel's clock is disciplined: yes, no, or an empty string where nobody can say."""
    if not shutil.which("timedatectl"):
        return ""
    _, out, _ = module.run_command(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    return str(out.strip())


def container(module: AnsibleModule) -> str:
    """What container this node is, whose clock is its host's; an empty string for a machine."""
    if not shutil.which("systemd-detect-virt"):
        return ""
    code, out, _ = module.run_command(["systemd-detect-virt", "--container"])
    return str(out.strip()) if code == 0 else ""


def look_at(module: AnsibleModule, look: dict[str, Any]) -> dict[str, Any]:
    """All that was asked for; what takes waiting is waited for at the same time."""
    systemd = os.path.isdir("/run/systemd/system")
    seen_units = units(module, look["units"]) if systemd and look["units"] else {}
    running = all(seen_units.get(unit, {}).get("active") in RUNNING for unit in look["application"])
    found_peers = peers(look["squid_conf"])
    addresses = sorted({*look["siblings"], *(peer["address"] for peer in found_peers)})
    with ThreadPoolExecutor(max_workers=16) as pool:
        told = pool.submit(schema, module, look["schema_command"] if systemd else [])
        certificate = pool.submit(served, look["tls_port"])
        answers = {url: pool.submit(answer, url) for url in look["urls"] if running}
        siblings = {address: pool.submit(sibling, address, look) for address in addresses}
        holders = [found for found in listeners() if found["protocol"] == "tcp" and found["port"] in look["ports"]]
        return {
            "systemd": systemd,
            "container": container(module),
            "units": seen_units,
            "listeners": holders,
            "texts": {path: read_text(path) for path in look["texts"] if os.path.isfile(path)},
            "records": {path: record(path) for path in look["records"]},
            "links": {path: link(path) for path in look["links"]},
            "disks": {path: found for path in look["folders"] for found in [disk(path)] if found},
            "key_fault": key_pair(*look["key_pair"]) if os.path.isfile(look["key_pair"][0]) else "",
            "peers": found_peers,
            "ntp": ntp(module),
            "schema": told.result(),
            "served": certificate.result(),
            "answers": {url: asked.result() for url, asked in answers.items()},
            "siblings": {address: asked.result() for address, asked in siblings.items()},
        }


def main() -> None:
    """Run as an Ansible module."""
    begun = time.time()
    texts = {"type": "list", "elements": "str", "default": []}
    paths = {"type": "list", "elements": "path", "default": []}
    module = AnsibleModule(
        argument_spec={
            "look": {
                "type": "dict",
                "required": True,
                "options": {
                    "units": texts,
                    "application": texts,
                    "ports": {"type": "list", "elements": "int", "default": []},
                    "urls": texts,
                    "texts": paths,
                    "records": paths,
                    "links": paths,
                    "folders": paths,
                    "tls_port": {"type": "int", "required": True},
                    "key_pair": {"type": "list", "elements": "path", "required": True, "no_log": False},
                    "schema_command": texts,
                    "squid_conf": {"type": "path", "default": "/etc/squid/squid.conf"},
                    "siblings": texts,
                    "squid_port": {"type": "int", "required": True},
                    "icp_port": {"type": "int", "required": True},
                    "icp_url": {"type": "str", "required": True},
                },
            },
        },
        supports_check_mode=True,
    )
    seen = look_at(module, module.params["look"])
    module.exit_json(changed=False, node={"begun": begun, **seen, "ended": time.time()})


if __name__ == "__main__":
    main()
