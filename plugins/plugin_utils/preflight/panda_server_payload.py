"""What must be true of a node's payload: what the public package needs, and what it no longer knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.panda.provision.plugins.module_utils.secrets import REFERENCE
from ansible_collections.panda.provision.plugins.plugin_utils import parameters, payload

REPLACED = {
    "nDBConForFastCGIWSGI": "nDBConnection has replaced it, which is panda_server_ndbconnection",
    "nDBConForFastCGI": "nDBConnection has replaced it, which is panda_server_ndbconnection",
    "auth_policies": "the names of the files in panda_server_auth_config have replaced it "
    "(<vo>_auth_config.json, <vo>.<role>_auth_config.json)",
}
"""Parameters of [server] that older releases read, and what has replaced each."""

PLUGINS = {
    "AdderDummyPlugin": "pandaserver.dataservice.adder_dummy_plugin",
    "AdderAtlasPlugin": "pandaserver.dataservice.adder_atlas_plugin",
    "AdderSimplePlugin": "pandaserver.dataservice.adder_simple_plugin",
    "CloserAtlasPlugin": "pandaserver.dataservice.closer_atlas_plugin",
    "SetupperDummyPlugin": "pandaserver.dataservice.setupper_dummy_plugin",
    "SetupperAtlasPlugin": "pandaserver.dataservice.setupper_atlas_plugin",
}
"""Class of a plugin and the module in which it is today; a module was once called as its class."""

OLD_MODULE = re.compile(r"(?<![\w.])(?:pandaserver\.dataservice\.(?=[A-Z])|dataservice\.)(\w+)")
"""As its class, or without the package that it is in."""


OWN_FOLDER = "/tmp/proxies"  # noqa: S108  the package has no other
FETCHING_JOB = "panda_activeusers_query"
TOKEN_CLIENT = ("client_id", "secret", "endpoint", "use_token_key")
SERVED = ("/var/trf", "/var/cric", "/var/cache/pandaserver/schedconfig")


def folders(variables: Mapping[str, Any]) -> list[str]:
    """Folders that the package makes for itself, where everybody may make one before it."""
    package = variables["panda_server_payload"] == payload.PACKAGE and not variables["panda_server_cache_only"]
    return [OWN_FOLDER] if package else []


def faults(variables: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """Everything that has to be mended first."""
    found = [*service_faults(variables), *token_faults(variables), *folder_faults(variables, node)]
    if variables["panda_server_payload"] != payload.PACKAGE:
        return found
    if variables["panda_server_backend"] not in ("postgres", "oracle"):
        found.append(
            f"panda_server_backend: is {variables['panda_server_backend']}; the payload panda-server runs on postgres "
            "or oracle (on MySQL it cannot store a task or a job, see docs/decisions/0011-public-package.md)"
        )
    if variables["panda_server_schema_manage"]:
        found.append(
            "panda_server_schema_manage: the schema of the payload panda-server is not made from a node; set it to "
            "false, and see playbooks/database.yml"
        )
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", variables["panda_server_schema_prefix"]):
        found.append(f"panda_server_schema_prefix: '{variables['panda_server_schema_prefix']}' is no part of a name")
    if not variables["panda_server_wheelhouse"] and (
        fault := payload.fault(variables["panda_server_payload_requirement"])
    ):
        found.append(f"panda_server_payload_requirement: {fault}")
    return [*found, *parameter_faults(variables), *plugin_faults(variables), *daemon_faults(variables)]


def service_faults(variables: Mapping[str, Any]) -> list[str]:
    """JEDI and MCP, where the payload or the node cannot run them."""
    found = []
    for name in ("panda_server_jedi_enabled", "panda_server_mcp_enabled"):
        if variables[name] and variables["panda_server_payload"] != payload.PACKAGE:
            found.append(f"{name}: the payload {variables['panda_server_payload']} has none; set it to false")
        elif variables[name] and variables["panda_server_cache_only"]:
            found.append(f"{name}: a cache node (panda_server_cache_only) runs nothing beside httpd; set it to false")
        elif name == "panda_server_mcp_enabled" and variables[name] and not variables["panda_server_wheelhouse"]:
            requirement = variables["panda_server_payload_requirement"]
            if not re.search(r"\[(.*\W)?mcp(\W.*)?\]", requirement):
                found.append(
                    f"panda_server_mcp_enabled: panda_server_payload_requirement is {requirement}, without what MCP "
                    "needs; add the extra mcp, as in panda-server[postgres,mcp]==1.0.4"
                )
    return found


def token_faults(variables: Mapping[str, Any]) -> list[str]:
    """Clients of the token cache that the package passes over with a line in its log, or whose tokens others read."""
    place, clients = "panda_server_token_cache_clients", variables["panda_server_token_cache_clients"]
    if not clients or variables["panda_server_cache_only"]:
        return []
    found = []
    if variables["panda_server_payload"] != payload.PACKAGE:
        found.append(f"{place}: the payload {variables['panda_server_payload']} fetches no tokens; leave it out")
    elif not fetches_tokens(variables):
        found.append(
            f"{place}: nothing on this node fetches tokens: add proxyCache: {{module: {FETCHING_JOB}, enable: true, "
            "period: 600}} to panda_server_daemon_jobs and leave panda_server_daemon_enabled true, or leave it out here"
        )
    found += [
        f"{variable}: token_cache_config: is what {place} writes; leave one of the two out"
        for variable, given in (
            ("panda_server_config", variables["panda_server_config"]),
            ("panda_server_overlay", variables["panda_server_overlay"].get("server", {})),
        )
        if "token_cache_config" in given
    ]
    return [*found, *(fault for name, client in clients.items() for fault in client_faults(variables, name, client))]


def fetches_tokens(variables: Mapping[str, Any]) -> bool:
    """Whether the daemon's job, or JEDI's watchdog, runs on the node."""
    jobs = variables["panda_server_daemon_jobs"].items() if variables["panda_server_daemon_enabled"] else ()
    return variables["panda_server_jedi_enabled"] or any(
        isinstance(job, dict) and job.get("module", name) == FETCHING_JOB and job.get("enable") for name, job in jobs
    )


def client_faults(variables: Mapping[str, Any], name: str, client: Any) -> list[str]:
    """What is wrong with one client of the token cache; never its secret."""
    place = f"panda_server_token_cache_clients: {name}"
    found = []
    # It becomes part of a file's name.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        found.append(f"{place}: is no name of a client: write letters, digits, dots, underscores and hyphens")
    if not isinstance(client, dict):
        return [*found, f"{place}: has to be a dictionary of {', '.join(TOKEN_CLIENT)}"]
    if missing := [key for key in TOKEN_CLIENT if client.get(key) in (None, "")]:
        found.append(f"{place}: lacks {', '.join(missing)}")
    if not isinstance(client.get("use_token_key", False), bool):
        found.append(f"{place}: use_token_key: has to be true or false; anything else gives the token without a key")
    if not str(client.get("endpoint") or "https://").startswith("https://"):
        found.append(f"{place}: endpoint does not begin with https://, so anybody on the way could read the secret")
    if REFERENCE.fullmatch(str(client.get("secret"))):
        found.append(f"{place}: secret: the package takes it from no variable here: put the value itself, from a vault")
    path = client.get("token_file_path") or ""
    served = [*SERVED, variables["panda_server_auth_config"], f"{variables['panda_server_logdir']}/pandacache"]
    if path and not path.startswith("/"):
        found.append(f"{place}: token_file_path: '{path}' is not an absolute path")
    elif any(f"{path}/".startswith(f"{folder}/") for folder in served):
        found.append(f"{place}: token_file_path: httpd serves what is in the folder of {path} to everybody")
    return found


def folder_faults(variables: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """A folder that some other account has made first, with files in it that it can read."""
    return [
        f"{path} on the node: belongs to {owner}, who could read the tokens and proxies that the services put there: "
        "find out why, and move it away"
        for path in folders(variables)
        for owner in [node["owners"][path].partition(":")[0]]
        if owner not in ("", "root", variables["panda_server_user"])
    ]


def parameter_faults(variables: Mapping[str, Any]) -> list[str]:
    """Parameters that the package would pass over without a word."""
    overlay = variables["panda_server_overlay"].get("server", {})
    found = [
        f"{place}: {name} is not read any more: {replaced}"
        for place, given in (
            ("panda_server_config", variables["panda_server_config"]),
            ("panda_server_overlay", overlay),
        )
        for name, replaced in REPLACED.items()
        if name in given
    ]
    if variables["panda_server_auth_policies"]:
        found.append(f"panda_server_auth_policies: auth_policies is not read any more: {REPLACED['auth_policies']}")
    return found


def plugin_faults(variables: Mapping[str, Any]) -> list[str]:
    """Modules by the name that they had; the package would go on without that plugin and say nothing."""
    overlay = variables["panda_server_overlay"].get("server", {})
    given = {
        "panda_server_adder_plugins": variables["panda_server_adder_plugins"],
        "panda_server_setupper_plugins": variables["panda_server_setupper_plugins"],
        **{f"panda_server_config: {name}": value for name, value in variables["panda_server_config"].items()},
        **{f"panda_server_overlay: {name}": value for name, value in overlay.items()},
    }
    return [
        f"{place}: {match[0]} is no module any more: write {present_name(match[1])}"
        for place, value in given.items()
        if place.endswith("_plugins")
        for match in OLD_MODULE.finditer(str(value))
    ]


def daemon_faults(variables: Mapping[str, Any]) -> list[str]:
    """Jobs that would hold every worker of the daemon: the others would never run, and every unit look well."""
    overlay = variables["panda_server_overlay"].get("daemon", {})
    given = {name: variables[variable] for name, variable in parameters.DAEMON.items()}
    # The package takes each of these from the overlay, whole, where that has it.
    daemon = {**given, **{name: value for name, value in overlay.items() if not parameters.reference(value)}}
    place = {
        name: f"panda_server_overlay: daemon: {name}" if name in overlay else variable
        for name, variable in parameters.DAEMON.items()
    }
    if variables["panda_server_cache_only"] or str(daemon["enable"]).lower() != "true":
        return []
    if not str(daemon["n_proc"]).isdigit():
        return [f"{place['n_proc']}: is {daemon['n_proc']}, and has to be a number"]
    jobs = parameters.jobs(daemon["config"])
    if jobs is None:
        return [f"{place['config']}: has to be a dictionary of jobs, each a dictionary of its parameters"]
    loops = [name for name, job in jobs.items() if job.get("loop") and job.get("enable") is not False]
    if len(loops) < int(daemon["n_proc"]):
        return []
    return [
        f"{place['n_proc']}: is {daemon['n_proc']}, and {len(loops)} jobs have `loop` ({', '.join(loops)}), each of "
        f"which holds a worker: nothing else would run. Set it to {len(loops) + 1} or more"
    ]


def present_name(module: str) -> str:
    """Where a module of the package's dataservice is today."""
    if module[0].isupper():
        return PLUGINS.get(module, "its present name")
    return f"pandaserver.dataservice.{module}"
