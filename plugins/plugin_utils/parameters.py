"""PanDA's own configuration files as inventory variables, and back.

A parameter that has a variable of its own becomes that variable. Of the others, those that the role writes by itself go
into panda_server_overlay, which overrides them, and the rest into panda_server_config: nothing is lost on the way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from configparser import ConfigParser, ParsingError
from typing import Any

TEXTS = {
    "backend": "panda_server_backend",
    "dbhost": "panda_server_dbhost",
    "dbuser": "panda_server_dbuser",
    "dbpasswd": "panda_server_dbpasswd",
    "dbname": "panda_server_dbname",
    "pserveralias": "panda_server_pserveralias",
    "pserverhost": "panda_server_servername",
    "adder_plugins": "panda_server_adder_plugins",
    "setupper_plugins": "panda_server_setupper_plugins",
    "token_authType": "panda_server_token_auth_type",
}
FOLDERS = {
    "logdir": "panda_server_logdir",
    "auth_config": "panda_server_auth_config",
}
NUMBERS = {
    "dbport": "panda_server_dbport",
    "nDBConnection": "panda_server_ndbconnection",
    "dbtimeout": "panda_server_dbtimeout",
    "pserverport": "panda_server_port_ssl",
    "pserverporthttp": "panda_server_port",
}
LISTS = {"production_dns": "panda_server_production_dns"}
WRITTEN = {
    "pserverhosthttp", "pserverportcache", "cache_dir", "schedconfig_cache_dir", "usedbtimeout",
    "schemaPANDA", "schemaMETA", "schemaPANDAARCH", "schemaJEDI", "schemaDEFT",
}  # fmt: skip
"""In the cfg file in any case, where no parameter may stand twice."""
DAEMON = {"n_proc": "panda_server_daemon_n_proc"}
NO_TOKENS = "x509"
SECRET = re.compile(r"passw|passcode|passphrase|(?<!by)pass$|secret$|token$", re.IGNORECASE)
"""Stands in the name of a parameter or variable whose value nobody but root may read."""
REFERENCE = re.compile(r"\$\{*(\w+)\}*")
"""A value that is taken from the environment: $NAME, ${NAME} or ${{NAME}}."""
BOOLEANS = {"True": True, "False": False}


class ParametersError(Exception):
    """A file that cannot be read; the text says where and why."""


def in_clear(name: str, value: Any) -> bool:
    """Whether a parameter is a secret that stands there itself, and not a switch or the path of a file.

    `none` is what the package writes for no password.
    """
    text = str(value)
    harmless = text.lower() in ("", "none", "true", "false") or text.startswith("/")
    return bool(SECRET.search(name)) and not harmless and not REFERENCE.fullmatch(text)


def secret_elsewhere(name: str, value: Any) -> str:
    """The variable of the environment that a secret parameter is taken from; empty where it is not taken from one."""
    match = REFERENCE.fullmatch(str(value)) if SECRET.search(name) else None
    return match[1] if match else ""


def read_json(text: str) -> dict[str, dict[str, Any]]:
    """The sections of a panda_server_config.json."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ParametersError(f"is not JSON: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(section, dict) for section in content.values()):
        raise ParametersError("must be one JSON object of sections, each an object of parameters")
    return content


def read_cfg(text: str) -> dict[str, dict[str, Any]]:
    """The sections of a panda_server.cfg."""
    parser = ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    try:
        parser.read_string(text)
    except ParsingError as error:
        # Of the lines their numbers only: one of them may be the password's.
        numbers = [number for number, _ in getattr(error, "errors", [])] or [getattr(error, "lineno", 0)]
        lines = ", ".join(str(number) for number in numbers)
        raise ParametersError(
            f"is not a cfg file: line {lines} is neither a [section] nor `name = value` within one"
        ) from None
    return {name: {key: value.replace("%%", "%") for key, value in parser[name].items()} for name in parser.sections()}


def to_variables(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Inventory variables that make a node with these parameters; a secret becomes one of panda_server_secrets."""
    secrets: dict[str, str] = {}

    def safe(section: str, name: str, value: Any) -> Any:
        if not in_clear(name, value):
            return value
        variable = re.sub(r"\W", "_", f"PANDA_{section}_{name}").upper()
        secrets[variable] = str(value)
        return f"${variable}"

    variables: dict[str, Any] = {}
    further: dict[str, Any] = {}
    server: dict[str, Any] = {}
    for name, value in sections.get("server", {}).items():
        if name == "dbpasswd" and secret_elsewhere(name, value):
            continue  # the variable is the password itself, which is not here
        if name in TEXTS:
            # Without any authentication by token it is called None, and here x509.
            variables[TEXTS[name]] = NO_TOKENS if name == "token_authType" and value in ("None", None) else str(value)
        elif name in FOLDERS:
            # The package's own value has a slash at the end, which a path of the role has not.
            variables[FOLDERS[name]] = str(value).rstrip("/")
        elif name in WRITTEN:
            server[name] = value
        elif name in NUMBERS and str(value).isdigit():
            variables[NUMBERS[name]] = int(value)
        elif name in LISTS:
            variables[LISTS[name]] = [part for part in str(value).split(",") if part]
        else:
            further[name] = safe("server", name, value)
    if further:
        variables["panda_server_config"] = further
    daemon: dict[str, Any] = {}
    for name, value in sections.get("daemon", {}).items():
        if name in DAEMON and str(value).isdigit():
            variables[DAEMON[name]] = int(value)
        elif name == "enable" and str(value) in BOOLEANS:
            variables["panda_server_daemon_enabled"] = BOOLEANS[str(value)]
        elif name == "config":
            variables["panda_server_daemon_jobs"] = json.loads(value) if isinstance(value, str) else value
        else:
            daemon[name] = safe("daemon", name, value)
    others = {
        section: {name: safe(section, name, value) for name, value in given.items()}
        for section, given in sections.items()
        if section not in ("server", "daemon")
    }
    overlay = {**({"server": server} if server else {}), **({"daemon": daemon} if daemon else {}), **others}
    if overlay:
        variables["panda_server_overlay"] = overlay
    if secrets:
        variables["panda_server_secrets"] = secrets
    return variables


def to_sections(variables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections of a panda_server_config.json, its values as text, as the package and its chart write them."""
    server: dict[str, Any] = {}
    for names in (TEXTS, FOLDERS, NUMBERS):
        server |= {name: str(variables[variable]) for name, variable in names.items() if variable in variables}
    if server.get("token_authType") == NO_TOKENS:
        server["token_authType"] = "None"  # noqa: S105  a kind of authentication
    server |= {name: ",".join(variables[variable]) for name, variable in LISTS.items() if variable in variables}
    overlay = variables.get("panda_server_overlay", {})
    server |= {**variables.get("panda_server_config", {}), **overlay.get("server", {})}
    daemon: dict[str, Any] = {name: str(variables[key]) for name, key in DAEMON.items() if key in variables}
    if "panda_server_daemon_enabled" in variables:
        daemon["enable"] = str(bool(variables["panda_server_daemon_enabled"]))
    if "panda_server_daemon_jobs" in variables:
        daemon["config"] = variables["panda_server_daemon_jobs"]
    daemon |= overlay.get("daemon", {})
    others = {name: section for name, section in overlay.items() if name not in ("server", "daemon")}
    references = {f"${name}": value for name, value in variables.get("panda_server_secrets", {}).items()}
    return {
        section: {
            name: references.get(value, value) if isinstance(value, str) else value for name, value in given.items()
        }
        for section, given in {"server": server, "daemon": daemon, **others}.items()
        if given
    }


def differences(
    now: Mapping[str, Mapping[str, Any]], then: Mapping[str, Mapping[str, Any]], keep: str = "panda_server_config"
) -> list[str]:
    """What a node's parameters would change to, a line each; of a secret only that it changes.

    `keep` is the variable that keeps what would be gone; empty where none does.
    """
    found = []
    for section in sorted({*now, *then}):
        old, new = now.get(section, {}), then.get(section, {})
        for name in sorted({*old, *new}):
            before, after = (
                None if given.get(name) is None else " ".join(str(given[name]).split()) for given in (old, new)
            )
            if before == after:
                continue
            if re.search("pass|secret|token$", name, re.IGNORECASE):
                before, after = (None if value is None else "(not shown)" for value in (before, after))
            place = f"[{section}] {name}"
            if after is None:
                found.append(
                    f"{place}: is {before}, and would be gone{f'; to keep it, put it into {keep}' if keep else ''}"
                )
            elif before is None:
                found.append(f"{place}: is not set, and would be {after}")
            else:
                found.append(f"{place}: is {before}, and would be {after}")
    return found
