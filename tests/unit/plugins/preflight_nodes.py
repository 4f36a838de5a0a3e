"""What the tests of preflight share: variables of the role panda_server, and what the module tells of a node."""

from __future__ import annotations

import time
from typing import Any

import yaml
from ansible_collections.panda.provision.plugins.plugin_utils.preflight import panda_server

from .conftest import ROOT, MakePair

SERVICE = "pandaserver.cern.ch"
CERTIFICATE, KEY, CHAIN = (f"/etc/grid-security/{name}.pem" for name in ("hostcert", "hostkey", "chain"))
DEFAULTS: dict[str, Any] = {
    **yaml.safe_load((ROOT / "roles/panda_server/defaults/main.yml").read_text()),
    "panda_server_dbname": "/var/lib/panda/panda.db",
    "panda_server_schema_manage": True,
    "panda_server_schema_prefix": "DOMA",
    "panda_server_adder_plugins": "",
    "panda_server_cache_dir": "/var/log/panda/pandacache",
    "panda_server_daemon_jobs": {},
    "panda_server_setupper_plugins": "",
    "panda_server_demo_ca": "/demo",
}
POSTGRES: dict[str, Any] = {
    "panda_server_backend": "postgres",
    "panda_server_dbhost": "db.cern.ch",
    "panda_server_dbuser": "panda",
    "panda_server_dbpasswd": "secret",
    "panda_server_dbname": "panda_db",
}
PACKAGE: dict[str, Any] = {
    **POSTGRES,
    "panda_server_payload": "panda-server",
    "panda_server_schema_manage": False,
    "panda_server_schema_prefix": "DOMA",
    "panda_server_adder_plugins": "local:pandaserver.dataservice.adder_dummy_plugin:AdderDummyPlugin",
    "panda_server_setupper_plugins": "",
}
ALMALINUX = {"ID": "almalinux", "ID_LIKE": "rhel centos fedora", "VERSION_ID": "9.6", "PRETTY_NAME": "AlmaLinux 9.6"}
DEBIAN = {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"}


def sound_node(make_pair: MakePair) -> dict[str, Any]:
    """Return what the module preflight tells of a sound, bare node."""
    pem = make_pair(SERVICE).certificate
    return {
        "os": ALMALINUX,
        "machine": "x86_64",
        "time": time.time(),
        "systemd": True,
        "listeners": [{"protocol": "tcp", "port": 22, "pid": 7, "process": "sshd", "unit": "sshd.service"}],
        "paths": {CERTIFICATE: "file", KEY: "file", "/opt/panda": ""},
        "globs": {"/etc/grid-security/certificates/*.0": []},
        "texts": {CERTIFICATE: pem, CHAIN: pem},
        "links": {},
        "connections": {"db.cern.ch:5432": ""},
        "key_pairs": {CERTIFICATE: ""},
        "units": {"panda.service": {"load": "not-found", "enabled": "", "active": "inactive"}},
        "starting": {},
        "puppet": [],
        "records": {},
        "owners": {"/tmp/proxies": ""},
    }


def faults(node: dict[str, Any], **variables: Any) -> list[str]:
    return panda_server.faults({**DEFAULTS, **variables}, node)
