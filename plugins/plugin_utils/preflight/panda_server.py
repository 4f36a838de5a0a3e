"""What must be true before the role panda_server changes a node."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from ansible_collections.panda.provision.plugins.module_utils.node import OLD_UNITS
from ansible_collections.panda.provision.plugins.module_utils.secrets import in_clear
from ansible_collections.panda.provision.plugins.plugin_utils import parameters, payload, wheelhouse
from ansible_collections.panda.provision.plugins.plugin_utils.preflight import (
    certificates,
    common,
    panda_server_payload,
)

UNITS = [
    "panda.service", "panda_httpd.service", "panda_revocation.timer", "panda_wsgi.socket", "panda_wsgi.service",
    "panda_daemon.service", "panda_jedi.service", "panda_mcp.service",
]  # fmt: skip
DEFAULT_PORTS = {"postgres": 5432, "oracle": 1521, "mysql": 3306}
HTTPD = ["/usr/sbin/httpd", "/usr/sbin/apache2"]
MOD_SYSTEMD = ["/usr/lib64/httpd/modules/mod_systemd.so", "/usr/lib/apache2/modules/mod_systemd.so"]
ETC = "/etc/panda"
DRAIN_RECORD = "/etc/panda/drain.json"
CONFIGURATION = ("panda_common.cfg", "panda_server.cfg")
ORGANISATION = ("audience", "client_id", "oidc_config_url", "vo")
PATHS = [
    "panda_server_prefix", "panda_server_releases", "panda_server_python", "panda_server_home", "panda_server_logdir",
    "panda_server_cache_dir", "panda_server_schedconfig_cache_dir", "panda_server_auth_config",
    "panda_server_hostcert", "panda_server_hostkey", "panda_server_chain", "panda_server_ca_certificates",
    "panda_server_x509_user_proxy",
]  # fmt: skip
ELSEWHERE = {
    "panda_server_auth_config": "/etc/panda/auth", "panda_server_home": "/data/atlpan",
    "panda_server_logdir": "/var/log/panda", "panda_server_cache_dir": "/var/log/panda/pandacache",
    "panda_server_schedconfig_cache_dir": "/var/cache/pandaserver/schedconfig",
    "panda_server_python": "/usr/bin/python3.11",
    "panda_server_ca_certificates": "/etc/grid-security/certificates", "panda_server_x509_user_proxy": "/data/atlpan",
    "panda_server_dbname": "/var/lib/panda",
    **dict.fromkeys(("panda_server_hostcert", "panda_server_hostkey", "panda_server_chain"), "/etc/grid-security"),
}  # fmt: skip
"""Where what a path names is not in the folder of a release."""
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
SERVED = ["panda_server_cache_dir", "panda_server_schedconfig_cache_dir", "panda_server_auth_config"]
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def look(variables: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What the judgement below has to know of the node."""
    wanted: dict[str, list[Any]] = {
        "paths": [variables["panda_server_prefix"], *HTTPD, *MOD_SYSTEMD, *overriding(variables)],
        "texts": [
            f"{variables['panda_server_releases']}/*/release.json",
            f"{variables['panda_server_auth_config']}/*_auth_config.json",
        ],
        "packages": [
            *(["firewalld"] if variables["panda_server_firewall_manage"] else []),
            *(["gridsite"] if variables["panda_server_gridsite"] else []),
        ],
        "accounts": [variables["panda_server_user"]],
        "globs": [
            f"{variables['panda_server_ca_certificates']}/*.0",
            f"{variables['panda_server_releases']}/*/configuration",
        ],
        "units": [*UNITS, "firewalld.service"],
        "starting": OLD_UNITS,
        "records": [f"{variables['panda_server_releases']}/releases.json", DRAIN_RECORD],
        "served": [
            {
                "port": variables["panda_server_port_ssl"],
                "path": variables["panda_server_hostcert"],
                "chain": variables["panda_server_chain"],
                "unit": "panda_httpd.service",
            }
        ],
    }
    if variables["panda_server_certificate_source"] == "node":
        pair = [variables["panda_server_hostcert"], variables["panda_server_hostkey"]]
        wanted["paths"] += pair
        wanted["texts"] += [variables["panda_server_hostcert"], variables["panda_server_chain"]]
        wanted["key_pairs"] = [pair]
    wanted["owners"] = panda_server_payload.folders(variables)
    if database(variables):
        wanted["connect"] = [database(variables)]
    return wanted


def units(variables: Mapping[str, Any]) -> list[str]:
    """The units that the node runs, without the one that goes by the authorities that it knows."""
    optional = {
        "panda_revocation.timer": False,
        "panda_jedi.service": variables["panda_server_jedi_enabled"],
        "panda_mcp.service": variables["panda_server_mcp_enabled"],
    }
    chosen = [unit for unit in UNITS if optional.get(unit, True)]
    return chosen[:2] if variables["panda_server_cache_only"] else chosen


def overriding(variables: Mapping[str, Any]) -> list[str]:
    """Configuration files that the application would read after, and instead of, those in /etc/panda."""
    folders = [
        "/usr/etc/panda",
        *(f"{variables['panda_server_home']}/{folder}" for folder in ("etc/panda", "usr/etc/panda")),
    ]
    return [f"{folder}/{name}" for folder in folders for name in CONFIGURATION]


def database(variables: Mapping[str, Any]) -> str:
    """host:port of the database; empty where there is none to reach, or where a TNS alias hides it."""
    backend, host = variables["panda_server_backend"], variables["panda_server_dbhost"]
    if variables["panda_server_cache_only"] or backend == "sqlite" or not host:
        return ""
    if backend == "oracle" and not re.search(r"[.:]", host):
        return ""
    return f"{host}:{variables['panda_server_dbport'] or DEFAULT_PORTS[backend]}"


def faults(variables: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """Everything that has to be mended first."""
    return [
        *common.system(node),
        *name_faults(variables),
        *worker_faults(variables),
        *database_faults(variables, node),
        *organisation_faults(variables),
        *written_faults(variables),
        *folder_faults(variables),
        *served_secret_faults(variables, node),
        *certificate_faults(variables, node),
        *port_faults(variables, node),
        *place_faults(variables, node),
        *wheelhouse_faults(variables),
        *panda_server_payload.faults(variables, node),
    ]


def warnings(variables: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """What a node may be without, as one for a trial, and whoever set it up has to know."""
    folder = variables["panda_server_ca_certificates"]
    known = node["globs"][f"{folder}/*.0"] or variables["panda_server_certificate_source"] == "demo_ca"
    tokens = variables["panda_server_token_auth_type"] != "x509"  # noqa: S105  a kind of authentication
    if known or tokens or variables["panda_server_cache_only"]:
        return []
    return [
        f"nobody can authenticate: {folder} (panda_server_ca_certificates) holds no authority of client certificates "
        "(*.0), and panda_server_token_auth_type is x509. Install the authorities there and run this again, or set it "
        "to oidc"
    ]


def name_faults(variables: Mapping[str, Any]) -> list[str]:
    """Values that end up in configuration files, where a blank or a quote would mean something else."""
    found = []
    for variable in ("panda_server_user", "panda_server_group"):
        if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", variables[variable]):
            found.append(f"{variable}: '{variables[variable]}' is not a name of an account")
    if variables["panda_server_user"] == "root":
        found.append("panda_server_user: is root; the services need no privileges, name an account of their own")
    for variable in ("panda_server_servername", "panda_server_pserveralias", "panda_server_loghost"):
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", variables[variable]):
            found.append(f"{variable}: '{variables[variable]}' is not a host name")
    found += [
        f"{variable}: '{variables[variable]}' is not an absolute path of letters, digits and . _ + @ - without a slash "
        "at the end"
        for variable in PATHS
        if not re.fullmatch(r"(/[A-Za-z0-9._+@-]+)+", variables[variable])
    ]
    for client in variables["panda_server_monitoring_clients"]:
        try:
            ip_network(client, strict=False)
        except ValueError:
            found.append(f"panda_server_monitoring_clients: '{client}' is not an address or a network")
    if variables["panda_server_gridsite"] and variables["panda_server_revocation"] == "known":
        found.append(
            "panda_server_revocation: with panda_server_gridsite httpd refuses everybody whose authority has no"
            " revocation list; say required, which means just that, or ignored"
        )
    fqans = variables["panda_server_production_fqans"]
    if fqans and not variables["panda_server_gridsite"]:
        found.append("panda_server_production_fqans: nothing reads FQANs; set panda_server_gridsite, or leave it out")
    found += [
        f"panda_server_production_fqans: '{fqan}' is not an FQAN such as /atlas/Role=production"
        for fqan in fqans
        if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+(/Role=[A-Za-z0-9._-]+)?", fqan)
    ]
    return [*found, *release_faults(variables), *line_faults(variables), *secret_faults(variables)]


def release_faults(variables: Mapping[str, Any]) -> list[str]:
    """What would be gone, or another release's, as soon as the link to the release points elsewhere."""
    prefix, releases = variables["panda_server_prefix"], variables["panda_server_releases"]
    found = [
        f"{variable}: {path} is in a release, and the next upgrade puts another one there: move what is there out "
        f"of it, to {place} for example, and name that place"
        for variable, place in ELSEWHERE.items()
        for path in [variables[variable]]
        if any(f"{path}/".startswith(f"{folder}/") for folder in (prefix, releases))
    ]
    if f"{releases}/".startswith(f"{prefix}/"):
        found.append(
            f"panda_server_releases: {releases} is below the link to the release (panda_server_prefix): name a folder "
            f"beside it, {prefix}.releases for example"
        )
    return found


def written_faults(variables: Mapping[str, Any]) -> list[str]:
    """Parameters that would stand twice in the cfg file, which nothing then reads, and those that only look set."""
    package = variables["panda_server_payload"] == payload.PACKAGE
    written = parameters.WRITTEN - (set() if package else parameters.SCHEMAS)
    found = []
    for name in variables["panda_server_config"]:
        if package and name in panda_server_payload.REPLACED:
            continue  # which is its own fault
        if variable := {**parameters.OWN, "nDBConForFastCGIWSGI": "panda_server_ndbconnection"}.get(name):
            remedy = f"set {variable}"
        elif name in written:
            remedy = f"put it into panda_server_overlay, as {{server: {{{name}: ...}}}}"
        else:
            continue
        found.append(
            f"panda_server_config: {name}: would stand twice in panda_server.cfg, which has it already: {remedy}"
        )
    for section, known in (("server", parameters.OWN), ("daemon", parameters.DAEMON)):
        for name, value in variables["panda_server_overlay"].get(section, {}).items():
            elsewhere = parameters.reference(value)
            if elsewhere and name in known and name not in (*parameters.FOLDERS, "dbpasswd"):
                found.append(
                    f"panda_server_overlay: {section}: {name}: is ${elsewhere}, and the rest of the node goes by "
                    f"{known[name]}: set that, and leave it out here"
                )
    return found


def folder_faults(variables: Mapping[str, Any]) -> list[str]:
    """Folders that the application would not share with httpd, and those that httpd would show too much of."""
    overlay = variables["panda_server_overlay"].get("server", {})
    found = [
        f"panda_server_overlay: server: {name}: the rest of the node would go on using {variables[variable]}, httpd "
        f"too: set {variable} instead, and leave it out here"
        for name, variable in parameters.FOLDERS.items()
        if name in overlay
    ]
    private = {
        "panda_server_logdir": "the logs", "panda_server_home": "the home of the services",
        "panda_server_hostkey": "the key of the host", "panda_server_dbname": "the database",
    }  # fmt: skip
    named = {**{variables[name]: f"{what} ({name})" for name, what in private.items()}, ETC: "the configuration"}
    return found + [
        f"{variable}: httpd would show {what} to everybody, which {path} holds: name a folder of its own"
        for variable in SERVED
        for path, what in named.items()
        if f"{path}/".startswith(f"{variables[variable]}/")
    ]


def line_faults(variables: Mapping[str, Any]) -> list[str]:
    """Values that do not stay on the one line that they have in a file."""
    found = [
        f"{variable}: holds a line break or another control character, and has one line in the files it goes to"
        for variable, value in variables.items()
        if isinstance(value, str) and CONTROL.search(value)
    ]
    for variable, form in (
        ("panda_server_environment", VARIABLE),
        ("panda_server_secrets", VARIABLE),
        ("panda_server_config", PARAMETER),
    ):
        found += [
            f"{variable}: '{name}' is not a name that can stand there, or its value does not fit on one line"
            for name, value in variables[variable].items()
            if not form.fullmatch(str(name)) or CONTROL.search(str(value))
        ]
    return found


def secret_faults(variables: Mapping[str, Any]) -> list[str]:
    """Secrets that would stand in a file that everybody on the node can read, and in what --diff shows."""
    secrets, environment = variables["panda_server_secrets"], variables["panda_server_environment"]
    known = {*secrets, *environment, *([parameters.PASSWORD] if variables["panda_server_dbpasswd"] else [])}
    found = []
    if parameters.PASSWORD in secrets:
        found.append(f"panda_server_secrets: {parameters.PASSWORD} is panda_server_dbpasswd: set that instead")
    found += [
        f"panda_server_environment: {name}: is a secret, and the file is readable: move it to panda_server_secrets"
        for name, value in environment.items()
        if in_clear(str(name), value)
    ]
    sections = {"panda_server_config": variables["panda_server_config"]} | {
        f"{variable}: {section}": content
        for variable in ("panda_server_overlay", "panda_server_jedi_config")
        for section, content in variables[variable].items()
        if isinstance(content, dict)
    }
    for place, content in sections.items():
        for name, value in content.items():
            if in_clear(str(name), value):
                found.append(
                    f"{place}: {name}: is a secret, and the file is readable: put the value into panda_server_secrets, "
                    "as {NAME: value}, and write $NAME here"
                )
            elif (reference := parameters.secret_elsewhere(str(name), value)) and reference not in known:
                found.append(f"{place}: {name}: refers to ${reference}, which panda_server_secrets does not have")
    return found


def worker_faults(variables: Mapping[str, Any]) -> list[str]:
    """Figures that httpd would silently change."""
    most, child = variables["panda_server_max_workers"], variables["panda_server_threads_per_child"]
    found = [
        f"{variable}: is {variables[variable]}, and has to be at least 1"
        for variable in (
            "panda_server_min_workers", "panda_server_max_workers", "panda_server_threads_per_child",
            "panda_server_num_wsgi", "panda_server_num_wsgi_thread", "panda_server_ndbconnection",
            "panda_server_max_backlog", "panda_server_max_connections", "panda_server_daemon_n_proc",
            "panda_server_releases_kept", "panda_server_dbtimeout", "panda_server_verify_timeout",
        )
        if variables[variable] < 1
    ]  # fmt: skip
    found += [
        f"{variable}: is {variables[variable]}, and cannot be less than 0"
        for variable in ("panda_server_drain_wait", "panda_server_drain_timeout")
        if variables[variable] < 0
    ]
    for variable in ("panda_server_port", "panda_server_port_ssl"):
        if not 1024 <= variables[variable] <= 65535:
            found.append(f"{variable}: is {variables[variable]}, and has to be from 1024 to 65535")
    if variables["panda_server_port"] == variables["panda_server_port_ssl"]:
        found.append("panda_server_port, panda_server_port_ssl: are the same port")
    if child > 0 and most % child:
        found.append(
            f"panda_server_max_workers: {most} is not a multiple of panda_server_threads_per_child ({child}), and "
            f"httpd would take {most - most % child}"
        )
    return found


def database_faults(variables: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """Parameters that the backend needs, and a database that answers."""
    backend = variables["panda_server_backend"]
    if variables["panda_server_cache_only"]:
        return []
    if backend == "sqlite":
        if variables["panda_server_dbname"].startswith("/"):
            return []
        return [f"panda_server_dbname: '{variables['panda_server_dbname']}' is not an absolute path, as sqlite needs"]
    found = [
        f"{variable}: is empty, and the backend {backend} needs it"
        for variable in ("panda_server_dbhost", "panda_server_dbuser", "panda_server_dbpasswd")
        if not variables[variable]
    ]
    address = database(variables)
    if address and node["connections"].get(address):
        found.append(
            f"the database at {address} (panda_server_dbhost) does not answer this node: "
            f"{node['connections'][address]}; check the address, the database's listener and the firewalls between"
        )
    return found


def organisation_faults(variables: Mapping[str, Any]) -> list[str]:
    """Organisations whose tokens would be refused, and secrets that everybody could read."""
    found = []
    organisations = variables["panda_server_auth_organisations"]
    if organisations and variables["panda_server_token_auth_type"] == "x509":  # noqa: S105  a kind of authentication
        found.append("panda_server_token_auth_type: is x509, and no organisation's token would be read: set it to oidc")
    for name, content in organisations.items():
        place = f"panda_server_auth_organisations: {name}"
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]*", name):
            found.append(f"{place}: is not an organisation (vo), nor one with a role (vo.role)")
        if not isinstance(content, dict):
            found.append(f"{place}: has to be a dictionary of what its file holds")
            continue
        if missing := [key for key in ORGANISATION if not content.get(key)]:
            found.append(f"{place}: lacks {', '.join(missing)}")
        if not str(content.get("oidc_config_url", "https://")).startswith("https://"):
            found.append(f"{place}: oidc_config_url does not begin with https://, so anybody on the way could sign in")
        if content.get("client_secret"):
            found.append(
                f"{place}: client_secret would be served to everybody at /auth/: register a public client, which has "
                "none"
            )
    return found


def served_secret_faults(variables: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """Secrets in files that the site has put into the folder that httpd serves."""
    found = []
    for path, text in node["texts"].items():
        if not (path.startswith(f"{variables['panda_server_auth_config']}/") and path.endswith("_auth_config.json")):
            continue
        try:
            content = json.loads(text)
        except ValueError:
            continue  # which `panda-node config check` reports
        if isinstance(content, dict) and content.get("client_secret"):
            found.append(
                f"{path} on the node: holds a client_secret, which httpd serves to everybody at /auth/: register a "
                "public client, which has none, write null there, and have the secret revoked"
            )
    return found


def certificate_faults(variables: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """A host certificate that is there, current, made for this service, and has its key."""
    if variables["panda_server_certificate_source"] == "node":
        return node_certificate_faults(variables, node)
    if variables["panda_server_certificate_source"] == "provided":
        return provided_certificate_faults(variables, node["time"])
    return []


def node_certificate_faults(variables: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """The certificate that the site has put on the node; its key does not leave the node."""
    certificate, key, chain = (variables[f"panda_server_{name}"] for name in ("hostcert", "hostkey", "chain"))
    texts = node["texts"]
    missing = [path for path in (certificate, chain) if path not in texts]
    missing += [key] if node["paths"].get(key, "") in ("", "directory") else []
    found = [
        f"{path}: no such file on the node; put it there, or set panda_server_certificate_source to `provided`"
        for path in missing
    ]
    if certificate in texts:
        names = [variables["panda_server_servername"]]
        found += certificates.faults(f"{certificate} on the node", texts[certificate], names, node["time"])
        if certificates.readable(texts[certificate]) and key not in missing and node["key_pairs"].get(certificate):
            found.append(f"{key} on the node: does not fit {certificate}: {node['key_pairs'][certificate]}")
    if chain in texts:
        served = texts.get(certificate, "")
        found += certificates.chain_faults(f"{chain} on the node", texts[chain], served, node["time"])
    return found


def provided_certificate_faults(variables: Mapping[str, Any], now: float) -> list[str]:
    """The certificate that is to be copied from the control machine."""
    texts: dict[str, str] = {}
    found = []
    for name in ("hostcert", "hostkey", "chain"):
        variable = f"panda_server_{name}_src"
        path = Path(variables[variable])
        if not path.is_absolute():
            found.append(f"{variable}: '{variables[variable]}' is not an absolute path on the control machine")
            continue
        try:
            texts[name] = path.read_text(errors="replace")
        except OSError as error:
            found.append(f"{variable}: {path} on the control machine: {error.strerror}")
    place = {name: f"{variables[f'panda_server_{name}_src']} (panda_server_{name}_src)" for name in texts}
    if "hostcert" in texts:
        names = [variables["panda_server_servername"]]
        found += certificates.faults(place["hostcert"], texts["hostcert"], names, now)
    if "hostkey" in texts and certificates.readable(texts.get("hostcert", "")):
        try:
            if not certificates.key_matches(texts["hostcert"], texts["hostkey"]):
                found.append(f"{place['hostkey']}: belongs to another certificate than {place['hostcert']}")
        except (ValueError, TypeError):
            found.append(f"{place['hostkey']}: is not a key in PEM form without passphrase")
    if "chain" in texts:
        found += certificates.chain_faults(place["chain"], texts["chain"], texts.get("hostcert", ""), now)
    return found


def port_faults(variables: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """Ports that something else holds."""
    ours = {"panda_httpd.service"}
    return [
        *common.port_free(node, variables["panda_server_port"], ours, "panda_server_port"),
        *common.port_free(node, variables["panda_server_port_ssl"], ours, "panda_server_port_ssl"),
    ]


def place_faults(variables: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """Things on the node that would work against this role."""
    found = [
        f"{path}: overrides /etc/panda/{path.rpartition('/')[2]} and was not made by this role: move it away"
        for path in overriding(variables)
        if node["paths"].get(path)
    ]
    found += link_faults(variables, node)
    found += [
        f"{unit}: is {said}: it has the node's ports, or takes them at the next boot: stop and disable it on the "
        f"drained node (systemctl disable --now {unit})"
        for unit, said in node["starting"].items()
    ]
    return [
        *found,
        *(
            f"Puppet would undo what this role writes: {said}; take PanDA's files out of its catalogue too"
            for said in node["puppet"]
        ),
    ]


def link_faults(variables: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """Something else than a link to a release, which would be replaced on a node that serves by it."""
    prefix, releases = variables["panda_server_prefix"], variables["panda_server_releases"]
    kind, found = node["paths"].get(prefix), []
    if kind in ("directory", "file"):
        found.append(
            f"{prefix} (panda_server_prefix): is there and is not a link to a release: it was installed by other "
            f"means; take it over (playbooks/adopt.yml), or move it away (mv {prefix} {prefix}.old)"
        )
    known = node["records"].get(f"{releases}/releases.json") or {}
    cut_off = []
    if not kind:
        cut_off = [posixpath.dirname(path) for path in node["texts"] if path.startswith(f"{releases}/adopted-")]
    if kind == "link":
        target = posixpath.normpath(posixpath.join(posixpath.dirname(prefix), node["links"][prefix]))
        name = posixpath.basename(target)
        if posixpath.dirname(target) != releases:
            found.append(
                f"{prefix} (panda_server_prefix): is a link to {target}, which is no release in {releases} "
                "(panda_server_releases): where it was installed by other means, take it over (playbooks/adopt.yml, "
                f"which says how), or move the link away (mv {prefix} {prefix}.old)"
            )
        elif name.startswith("adopted-") and name not in [*known.get("good", []), *known.get("bad", {})]:
            cut_off.append(target)
    return found + [
        f"{path}: its taking over was cut off, and another release would replace it: run playbooks/adopt.yml again, "
        "which completes it"
        for path in cut_off
    ]


def wheelhouse_faults(variables: Mapping[str, Any]) -> list[str]:
    """A given wheelhouse archive that is sound."""
    if not variables["panda_server_wheelhouse"]:
        return []
    try:
        given = wheelhouse.read(Path(variables["panda_server_wheelhouse"]))
    except wheelhouse.WheelhouseError as error:
        return [f"panda_server_wheelhouse: {error}"]
    if given.payload != variables["panda_server_payload"]:
        return [
            f"panda_server_wheelhouse: {given.archive} is of the payload {given.payload}, and panda_server_payload is "
            f"{variables['panda_server_payload']}"
        ]
    return []
