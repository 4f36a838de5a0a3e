"""What a node is asked for the health report, made from the variables of its roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils.addresses import resolve
from ansible_collections.panda.provision.plugins.plugin_utils.preflight.panda_server import units

ROLES = ("panda_server", "squid", "logrotate")
STATE_FILE = "/etc/panda/node_state"
DRAIN_RECORD = "/etc/panda/drain.json"
ENVIRONMENT_FILE = "/etc/sysconfig/panda_server_env"
HTTPD_CONF = "/etc/panda/panda_server-httpd.conf"
SECRETS_FILE = "/etc/panda/panda_server_secrets.env"
SQUID_CONF = "/etc/squid/squid.conf"
SQUID_POLICY = "/etc/firewalld/policies/panda-squid.xml"
CACHE = "/var/cache/pandaserver"
VARIABLES = (
    "panda_server_prefix", "panda_server_releases", "panda_server_logdir", "panda_server_user", "panda_server_port",
    "panda_server_port_ssl", "panda_server_hostcert", "panda_server_hostkey", "panda_server_chain",
    "panda_server_ca_certificates", "panda_server_token_auth_type",
    "panda_server_servername", "panda_server_cache_only", "panda_server_jedi_enabled", "panda_server_mcp_enabled",
    "panda_server_firewall_manage", "squid_port", "squid_icp_port", "squid_peer_group", "squid_offboarded_group",
    "squid_site", "squid_paths", "squid_cache_disk", "squid_cache_directory",
)  # fmt: skip


def expected(
    name: str, values: Mapping[str, Any], groups: Mapping[str, Sequence[str]], addresses: Mapping[str, str]
) -> dict[str, Any]:
    """What a node should be, from its variables and its place in the inventory."""
    offboarded = groups.get(values["squid_offboarded_group"], [])
    fleet = [host for host in groups.get(values["squid_peer_group"], []) if host not in offboarded]
    return {
        "name": name,
        "address": addresses[name],
        "offboarded": name in offboarded,
        "siblings": {host: (resolve(addresses[host]) or [""])[0] for host in fleet if host != name and name in fleet},
        "ports": {
            str(values["panda_server_port"]): "panda_httpd.service",
            str(values["panda_server_port_ssl"]): "panda_httpd.service",
            str(values["squid_port"]): "squid.service",
        },
        "units": [
            *units(values),
            "squid.service",
            "logrotate.timer",
            *(["firewalld.service"] if values["panda_server_firewall_manage"] else []),
        ],
        "folders": list(
            dict.fromkeys(
                [
                    values["panda_server_logdir"],
                    values["panda_server_releases"],
                    CACHE,
                    *([values["squid_cache_directory"]] if values["squid_cache_disk"] else []),
                ]
            )
        ),
        **{variable: values[variable] for variable in VARIABLES},
    }


def urls(wanted: Mapping[str, Any]) -> dict[str, str]:
    """The URLs of the node that are asked."""
    base = f"http://127.0.0.1:{wanted['panda_server_port']}"
    return {"alive": f"{base}/server/panda/isAlive", "live": f"{base}/node/live", "ready": f"{base}/node/ready"}


def record_of_releases(wanted: Mapping[str, Any]) -> str:
    """The file that records good and bad releases."""
    return f"{wanted['panda_server_releases']}/releases.json"


def look(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The argument of the module."""
    prefix, certificate = wanted["panda_server_prefix"], wanted["panda_server_hostcert"]
    return {
        "units": wanted["units"],
        "application": ["panda_httpd.service", "panda_wsgi.service"],
        "ports": [int(port) for port in wanted["ports"]],
        "urls": list(urls(wanted).values()),
        "texts": [STATE_FILE, HTTPD_CONF, certificate, wanted["panda_server_chain"]],
        "records": [DRAIN_RECORD, record_of_releases(wanted)],
        "links": [prefix],
        "folders": wanted["folders"],
        "tls_port": wanted["panda_server_port_ssl"],
        "key_pair": [certificate, wanted["panda_server_hostkey"]],
        # In the surroundings of the services, so that the password stays in its file.
        "schema_command": [] if wanted["panda_server_cache_only"] else [
            "systemd-run", "--pipe", "--wait", "--collect", "--quiet",
            f"--property=User={wanted['panda_server_user']}",
            f"--property=EnvironmentFile={ENVIRONMENT_FILE}",
            f"--property=EnvironmentFile=-{SECRETS_FILE}",
            f"{prefix}/bin/panda-node", "schema", "show",
        ],
        "squid_conf": SQUID_CONF,
        "siblings": sorted({address for address in wanted["siblings"].values() if address}),
        "squid_port": wanted["squid_port"],
        "icp_port": wanted["squid_icp_port"],
        "icp_url": f"http://{wanted['squid_site']}{wanted['squid_paths'][0]}",
    }  # fmt: skip
