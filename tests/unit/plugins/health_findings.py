"""What node_report returns of a sound node, for the tests of what is made of it."""

from __future__ import annotations

import copy
import time
from typing import Any

from ansible_collections.panda.provision.plugins.module_utils.haproxy import BACKENDS
from ansible_collections.panda.provision.plugins.plugin_utils.health import questions

from .conftest import Pair

RELEASE = "1.0.0-0a1b2c3d4e"
CERTIFICATE = "/etc/grid-security/hostcert.pem"
CHAIN = "/etc/grid-security/chain.pem"
VALUES: dict[str, Any] = {
    "panda_server_prefix": "/opt/panda",
    "panda_server_releases": "/opt/panda.releases",
    "panda_server_logdir": "/var/log/panda",
    "panda_server_user": "atlpan",
    "panda_server_port": 25080,
    "panda_server_port_ssl": 25443,
    "panda_server_hostcert": CERTIFICATE,
    "panda_server_hostkey": "/etc/grid-security/hostkey.pem",
    "panda_server_chain": CHAIN,
    "panda_server_ca_certificates": "/etc/grid-security/certificates",
    "panda_server_token_auth_type": "x509",
    "panda_server_servername": "pandaserver.cern.ch",
    "panda_server_firewall_manage": True,
    "panda_server_cache_only": False,
    "panda_server_jedi_enabled": False,
    "panda_server_mcp_enabled": False,
    "squid_port": 25085,
    "squid_icp_port": 3130,
    "squid_peer_group": "panda_servers",
    "squid_offboarded_group": "panda_offboarded",
    "squid_site": "pandaserver.cern.ch",
    "squid_paths": ["/cache/", "/trf/"],
    "squid_cache_disk": 0,
    "squid_cache_directory": "/var/spool/squid",
}
ADDRESSES = {"node-00": "192.0.2.10", "node-01": "192.0.2.11", "node-02": "192.0.2.12"}
BALANCERS = {"lb-01": {name: dict.fromkeys(BACKENDS, "UP") for name in ADDRESSES}}


def expected(name: str, offboarded: tuple[str, ...] = (), **values: Any) -> dict[str, Any]:
    groups = {"panda_servers": list(ADDRESSES), "panda_offboarded": list(offboarded)}
    return questions.expected(name, {**VALUES, **values}, groups, ADDRESSES)


def sound(name: str, pair: Pair, offboarded: tuple[str, ...] = ()) -> dict[str, Any]:
    """A node as it should be. Its certificate has signed itself, so it is its own chain."""
    wanted = expected(name, offboarded)
    now = time.time()
    unit = {
        "load": "loaded", "enabled": "enabled", "active": "active", "sub": "running", "result": "success", "status": "",
        "restarts": 0, "active_seconds": 86400,
    }  # fmt: skip
    urls = questions.urls(wanted)
    seen = {
        "begun": now, "ended": now + 0.5, "sent": now - 0.4, "received": now + 0.9,
        "systemd": True,
        "container": "",
        "ntp": "yes",
        "units": {unit_name: dict(unit) for unit_name in wanted["units"]},
        "listeners": [
            {"protocol": "tcp", "port": int(port), "process": "x", "pid": 1, "unit": holder}
            for port, holder in wanted["ports"].items()
        ],
        "texts": {questions.STATE_FILE: "production\n", CERTIFICATE: pair.certificate, CHAIN: pair.certificate},
        "records": {
            questions.DRAIN_RECORD: None,
            questions.record_of_releases(wanted): {"good": [RELEASE], "last_good": RELEASE, "bad": {}},
        },
        "links": {"/opt/panda": {"there": True, "target": f"panda.releases/{RELEASE}", "leads": True}},
        "disks": {
            folder: {"device": 1, "used_percent": 41, "files_percent": 3, "free_bytes": 10**10}
            for folder in wanted["folders"]
        },
        "key_fault": "",
        "peers": [{"name": host, "address": address} for host, address in wanted["siblings"].items()],
        "siblings": {address: {"icp": "answers", "http": ""} for address in wanted["siblings"].values()},
        "schema": {"required": "1.2.0", "installed": "1.2.0", "fault": ""},
        "served": {"pem": pair.certificate, "error": ""},
        "answers": {
            urls["alive"]: {"status": 200, "body": "alive=yes"},
            urls["live"]: {"status": 200, "body": '{"live": true, "release": "' + RELEASE + '"}'},
            urls["ready"]: {"status": 200, "body": '{"ready": true, "state": "production", "reasons": []}'},
        },
    }  # fmt: skip
    found = {"expected": wanted, "seen": seen, "outside": dict.fromkeys(wanted["ports"], ""), "trouble": ""}
    return copy.deepcopy(found)


def change(task: str, *items: str, state: str = "changed", handler: bool = False, **more: tuple[str, ...]) -> Any:
    """What site.yml --check said of a task."""
    faults = more.get("faults", ())
    said = {"task": task, "items": list(items), "state": state, "handler": handler, "faults": list(faults)}
    return {**said, "tags": list(more.get("tags", ())), "message": "\n".join(faults)}
