"""What must be true of a node's payload: what the public package needs, and what it no longer knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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


def faults(variables: Mapping[str, Any]) -> list[str]:
    """Everything that has to be mended first."""
    found = service_faults(variables)
    if variables["panda_server_payload"] != payload.PACKAGE:
        return found
    if variables["panda_server_backend"] not in ("postgres", "oracle"):
        found.append(
            f"panda_server_backend: is {variables['panda_server_backend']}; the payload panda-server runs on postgres "
            "or oracle here (its MySQL driver has no wheel and would need a compiler)"
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
