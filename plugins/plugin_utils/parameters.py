"""PanDA's own configuration files as inventory variables, and back.

A parameter that has a variable of its own becomes that variable. Of the others, and where the variable cannot take the
value, those that the role writes by itself go into panda_server_overlay, which overrides them, and the rest into
panda_server_config: nothing is lost on the way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from configparser import ConfigParser, InterpolationError, ParsingError
from typing import Any

from ansible_collections.panda.provision.plugins.module_utils.secrets import NOT_SHOWN, REFERENCE, SECRET, in_clear

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
    "auth_policies": "panda_server_auth_policies",
}
FOLDERS = {
    "logdir": "panda_server_logdir",
    "cache_dir": "panda_server_cache_dir",
    "schedconfig_cache_dir": "panda_server_schedconfig_cache_dir",
    "auth_config": "panda_server_auth_config",
}
NUMBERS = {
    "dbport": "panda_server_dbport",
    "nDBConnection": "panda_server_ndbconnection",
    "dbtimeout": "panda_server_dbtimeout",
}
LISTS = {"production_dns": "panda_server_production_dns", "production_fqans": "panda_server_production_fqans"}
OWN = {**TEXTS, **FOLDERS, **NUMBERS, **LISTS}
"""Parameters of [server] that have a variable of their own."""
PORTS = {
    "pserverport": ("panda_server_port_ssl", "PANDA_SERVER_CONF_PORT_SSL", "25443"),
    "pserverporthttp": ("panda_server_port", "PANDA_SERVER_CONF_PORT", "25080"),
}
"""The port that clients are told, and that on which httpd listens: the variable of both, the latter's name in the
environment, and the role's own. Behind a balancer or an ingress they differ."""
SCHEMAS = {"schemaPANDA", "schemaMETA", "schemaPANDAARCH", "schemaJEDI", "schemaDEFT"}
WRITTEN = {*PORTS, *SCHEMAS, "pserverhosthttp", "pserverportcache", "usedbtimeout"}
"""In the cfg file in any case, where no parameter may stand twice."""
DAEMON = {
    "n_proc": "panda_server_daemon_n_proc",
    "enable": "panda_server_daemon_enabled",
    "config": "panda_server_daemon_jobs",
}
PASSWORD = "PANDA_DB_PASSWORD"  # noqa: S105  the name of a variable
"""Under which the role gives the services panda_server_dbpasswd."""
NO_TOKENS = "x509"
BOOLEANS = {"True": True, "False": False}


class ParametersError(Exception):
    """A file that cannot be read; the text says where and why."""


def reference(value: Any) -> str:
    """The variable of the environment that a value is taken from; empty where it is not taken from one."""
    match = REFERENCE.fullmatch(str(value))
    return match[1] if match else ""


def secret_elsewhere(name: str, value: Any) -> str:
    """The variable of the environment that a secret parameter is taken from; empty where it is not taken from one."""
    return reference(value) if SECRET.search(name) else ""


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
    """The sections of a panda_server.cfg, `%(name)s` in them replaced as the package does when it reads the file."""
    parser = ConfigParser(strict=False)
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
    sections: dict[str, dict[str, Any]] = {section: {} for section in parser.sections()}
    leading_nowhere = []
    for section, given in sections.items():
        for name in parser[section]:
            try:
                given[name] = parser.get(section, name)
            except InterpolationError:
                leading_nowhere.append(f"line {_line(text, section, name)} ([{section}] {name})")
    if leading_nowhere:
        raise ParametersError(
            f"has a % that refers to nothing: {', '.join(leading_nowhere)}: write %% for the sign itself, or name a "
            "parameter of the same section, as %(name)s"
        )
    return sections


def _line(text: str, section: str, name: str) -> int:
    """The line in which a parameter of a section begins; of several, the last, which counts."""
    within, found = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\[([^]]+)\]", line):
            within = header[1]
        elif within in (section, "DEFAULT") and re.match(rf"{re.escape(name)}\s*[=:]", line.strip()):
            found = number
    return found


def read_environment(text: str) -> dict[str, str]:
    """The variables of an environment: `NAME=value` lines, as `env` prints them and a sysconfig file has them."""
    found = {}
    for line in text.splitlines():
        if match := re.match(r"\s*(?:export\s+)?([A-Za-z_]\w*)=(.*)", line):
            value = match[2].strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[match[1]] = value[1:-1] if quoted else value
    return found


def to_variables(
    sections: Mapping[str, Mapping[str, Any]], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Inventory variables that make a node with these parameters; a secret becomes one of panda_server_secrets.

    What a parameter takes from the environment is looked up in `environment`, and stays as it is where that lacks it.
    """
    known = environment or {}
    secrets: dict[str, str] = {}

    def safe(section: str, name: str, value: Any) -> Any:
        if elsewhere := secret_elsewhere(name, value):
            # The reference stays, so that it comes back as it was.
            secrets.update({elsewhere: known[elsewhere]} if elsewhere in known else {})
            return value
        value = known.get(reference(value), value)
        if not in_clear(name, value):
            return value
        variable = _secret_variable(section, name)
        secrets[variable] = str(value)
        return f"${variable}"

    variables: dict[str, Any] = {}
    for variable, name, _ in PORTS.values():
        if known.get(name, "").isdigit():
            variables[variable] = int(known[name])
    further: dict[str, Any] = {}
    server: dict[str, Any] = {}
    for name, value in sections.get("server", {}).items():
        resolved = known.get(reference(value), value)
        taken = _own(name, resolved, known)
        variables |= taken
        if name in OWN or name in WRITTEN:
            if name == "dbpasswd" and reference(value) == PASSWORD:
                server[name] = value  # what the role itself writes there, and no secret
            elif not taken:
                server[name] = resolved
        else:
            further[name] = safe("server", name, value)
    if further:
        variables["panda_server_config"] = further
    daemon: dict[str, Any] = {}
    for name, value in sections.get("daemon", {}).items():
        taken = _own_daemon(name, known.get(reference(value), value))
        variables |= taken
        if not taken:
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


def _secret_variable(section: str, name: str) -> str:
    """What a secret that stood in the file itself is called among panda_server_secrets."""
    return re.sub(r"\W", "_", f"PANDA_{section}_{name}").upper()


def _own(name: str, value: Any, environment: Mapping[str, str]) -> dict[str, Any]:
    """The variable of a parameter of [server], with its value; nothing where it has none, or none that can take it."""
    text = str(value)
    if reference(text):
        return {}
    if name in TEXTS:
        # Without any authentication by token it is called None, and here x509.
        return {TEXTS[name]: NO_TOKENS if name == "token_authType" and text == "None" else text}
    if name in FOLDERS:
        # The package's own value has a slash at the end, which a path of the role has not.
        return {FOLDERS[name]: text.rstrip("/")}
    if name in NUMBERS and text.isdigit():
        return {NUMBERS[name]: int(text)}
    if name in LISTS:
        return {LISTS[name]: [part for part in text.split(",") if part]}
    if name in PORTS:
        variable, listens, default = PORTS[name]
        return {variable: int(text)} if text == environment.get(listens, default) else {}
    return {}


def _own_daemon(name: str, value: Any) -> dict[str, Any]:
    """The same of a parameter of [daemon]."""
    if name == "n_proc" and str(value).isdigit():
        return {DAEMON[name]: int(value)}
    if name == "enable" and str(value) in BOOLEANS:
        return {DAEMON[name]: BOOLEANS[str(value)]}
    if name == "config" and not reference(value):
        table = jobs(value)
        if table is None:
            raise ParametersError("[daemon] config: is no JSON object of jobs, each an object of its parameters")
        return {DAEMON[name]: table}
    return {}


def jobs(table: Any) -> dict[str, dict[str, Any]] | None:
    """The daemon's jobs, from a table or its text; None where it is no table of jobs."""
    try:
        content = json.loads(table) if isinstance(table, str) else table
    except ValueError:
        return None
    sound = isinstance(content, dict) and all(isinstance(job, dict) for job in content.values())
    return content if sound else None


def missing(sections: Mapping[str, Mapping[str, Any]], environment: Mapping[str, str]) -> list[str]:
    """What is not in the file, a line each with what to set: values of the environment, and the port of httpd."""
    found = []
    for section, given in sections.items():
        for name, value in given.items():
            variable = {"server": OWN, "daemon": DAEMON}.get(section, {}).get(name, "")
            elsewhere = reference(value)
            if section == "server" and name in PORTS and PORTS[name][1] not in environment:
                told = environment.get(elsewhere, value)
                if not reference(told) and not _own(name, told, environment):
                    found.append(
                        f"[server] {name} is {told}, which clients are told; httpd listens on {PORTS[name][0]}, which "
                        f"is {PORTS[name][2]} unless you set it"
                    )
            if not elsewhere or elsewhere in environment:
                continue
            if name == "dbpasswd" and elsewhere == PASSWORD:
                remedy = f"set {variable}"
            elif variable:
                remedy = f"set {variable}, and take {name} out of panda_server_overlay"
            else:
                place = "panda_server_secrets" if SECRET.search(name) else "panda_server_environment"
                remedy = f"add {elsewhere} to {place}"
            found.append(f"[{section}] {name} is ${elsewhere}, whose value is not here: {remedy}")
    return found


def to_sections(variables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections of a panda_server_config.json, its values as text, as the package and its chart write them."""
    server: dict[str, Any] = {}
    for names in (TEXTS, FOLDERS, NUMBERS, {name: variable for name, (variable, *_) in PORTS.items()}):
        server |= {name: str(variables[variable]) for name, variable in names.items() if variable in variables}
    if server.get("token_authType") == NO_TOKENS:
        server["token_authType"] = "None"  # noqa: S105  a kind of authentication
    server |= {name: ",".join(variables[variable]) for name, variable in LISTS.items() if variable in variables}
    overlay = variables.get("panda_server_overlay", {})
    server |= {**variables.get("panda_server_config", {}), **overlay.get("server", {})}
    daemon = {name: variables[variable] for name, variable in DAEMON.items() if variable in variables}
    daemon |= {name: str(value) for name, value in daemon.items() if name != "config"}
    daemon |= overlay.get("daemon", {})
    others = {name: section for name, section in overlay.items() if name not in ("server", "daemon")}
    secrets = variables.get("panda_server_secrets", {})

    def inside(section: str, name: str, value: Any) -> Any:
        variable = _secret_variable(section, name)
        return secrets.get(variable, value) if value == f"${variable}" else value

    return {
        section: {name: inside(section, name, value) for name, value in given.items()}
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
            if SECRET.search(name):
                before, after = (None if value is None else NOT_SHOWN for value in (before, after))
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
