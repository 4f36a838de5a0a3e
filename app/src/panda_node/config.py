"""What the configuration means: every key that is read, its default, and what is a fault.

Numbers and booleans may be written as the public package writes them ("True", "None", digits) or, in the JSON overlay,
as JSON's own.
"""

import json
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from panda_node import config_files
from panda_node.config_files import COMMON_FILE, SERVER_FILE, Sections, Value
from panda_node.errors import ConfigurationError

DEFAULT_PORTS = {"oracle": 1521, "postgres": 5432, "mysql": 3306, "sqlite": 0}
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
DEFAULT_JOBS: dict[str, object] = {
    "cache_schedconfig": {"enable": True, "period": 300},
    "split_tasks": {"enable": True, "period": 10, "sync": True},
    "add_main": {"enable": True, "period": 10, "sync": True},
    "expire_heartbeats": {"enable": True, "period": 60, "sync": True},
    "close_tasks": {"enable": True, "period": 10, "sync": True},
    "clean_cache": {"enable": True, "period": 3600},
    "delete_finished": {"enable": True, "period": 3600, "sync": True},
}
BUNDLED, PANDA_SERVER = PAYLOADS = ("bundled", "panda-server")
PAYLOAD_VARIABLE = "PANDA_NODE_PAYLOAD"
DEFAULT_NODE_STATE_FILE = "/etc/panda/node_state"


@dataclass(frozen=True)
class DatabaseSettings:
    """Where the database is, and how patiently it is used."""

    backend: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    name: str
    """Database, Oracle service, or the absolute path of the SQLite file."""
    pool_size: int
    """Connections per process."""
    call_timeout: int | None
    """Seconds after which a statement is given up; None: never."""
    schema: str = ""
    """Where the public package keeps its tables (schemaPANDA)."""

    def __str__(self) -> str:
        return (
            f"sqlite {self.name}" if self.backend == "sqlite" else f"{self.backend} {self.host}:{self.port}/{self.name}"
        )


@dataclass(frozen=True)
class JobSettings:
    """One periodic job."""

    name: str
    module: str
    period: float
    """Seconds between starts; of one node, or of all nodes together when `sync` is set."""
    timeout: float
    """Seconds after which a run is ended by force."""
    sync: bool
    """Runs on one node at a time, by a lock in the database."""
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class DaemonSettings:
    """The [daemon] section."""

    enable: bool
    processes: int
    """Jobs that may run at the same time."""
    jobs: tuple[JobSettings, ...]


@dataclass(frozen=True)
class Settings:
    """The whole configuration of a node's application."""

    payload: str
    """What serves the requests, see panda_node.payload."""
    log_directory: Path
    log_level: str
    database: DatabaseSettings
    daemon: DaemonSettings
    schedconfig_directory: Path
    authentication: str
    auth_directory: Path | None
    node_state_file: Path
    production_dns: tuple[str, ...]
    """DNs, or parts of them such as CN=alice, whose owners have the production role."""
    production_fqans: tuple[str, ...]
    """FQANs of grid proxies that give it."""
    cache_directory: Path
    """Uploaded sandboxes, served by httpd at /cache/."""
    cache_quota: int
    """MB that one identity may have there on this node; 0: no limit."""
    host: str
    """This node's name, as others reach it."""
    adder_plugins: tuple[str, ...]
    setupper_plugins: tuple[str, ...]
    """vo:module:Class each."""
    transformation: str
    """What runs a payload whose task names no program of its own."""
    heartbeat_timeout: int
    """Seconds without a report after which a job is taken from its pilot."""
    rate_limit: int
    """Requests that one identity may make in a minute, over all workers of this node; 0: no limit."""
    rate_limit_production: int
    """The same for the production role: all pilots of a site may be one identity."""
    rate_limit_anonymous: int
    """The same of one address, for methods that need no identity."""


@dataclass(frozen=True)
class WsgiSettings:
    """How gunicorn runs; from the environment only, as the httpd configuration takes it from there too."""

    workers: int
    threads: int
    backlog: int


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the node's configuration, or raises ConfigurationError with every fault in it."""
    environ = os.environ if environ is None else environ
    settings, faults = examine(config_files.search_path(environ), config_files.default_overlay(environ), environ)
    if faults:
        raise ConfigurationError(faults)
    return settings


def examine(
    directories: Sequence[Path], overlay: Path | None, environ: Mapping[str, str]
) -> tuple[Settings, list[str]]:
    """Reads the configuration and returns it with its faults; with faults, the settings are not to be used."""
    faults: list[str] = []
    sections = config_files.read_sections(directories, overlay, environ, faults)
    known_missing = {name for name in (COMMON_FILE, SERVER_FILE) if any(f.startswith(name) for f in faults)}
    logger = _Section(sections, "logger", COMMON_FILE, faults, known_missing)
    server = _Section(sections, "server", SERVER_FILE, faults, known_missing)
    daemon = _Section(sections, "daemon", SERVER_FILE, faults, known_missing)
    auth_config = server.text("auth_config", "")
    payload = environ.get(PAYLOAD_VARIABLE, BUNDLED)
    if payload not in PAYLOADS:
        faults.append(f"environment: {PAYLOAD_VARIABLE}={payload}: must be one of {', '.join(PAYLOADS)}")
    settings = Settings(
        payload=payload if payload in PAYLOADS else BUNDLED,
        log_directory=logger.path("logdir", "/var/log/panda"),
        log_level=logger.choice("log_level", "DEBUG", LOG_LEVELS),
        database=_database(server),
        daemon=_daemon(daemon),
        schedconfig_directory=server.path("schedconfig_cache_dir", "/var/cache/pandaserver/schedconfig"),
        authentication=server.choice("token_authType", "x509", ("x509", "oidc", "None")),
        auth_directory=Path(auth_config) if auth_config else None,
        node_state_file=Path(environ.get("PANDA_NODE_STATE_FILE", DEFAULT_NODE_STATE_FILE)),
        production_dns=server.words("production_dns"),
        production_fqans=server.words("production_fqans"),
        cache_directory=server.path("cache_dir", "/var/log/panda/pandacache"),
        # Some hundred sandboxes of a usual size; ten such users fill the disk of the smallest node there should be.
        cache_quota=server.number("cache_quota", 10240, lowest=0),
        host=server.text("pserverhost", socket.getfqdn()),
        adder_plugins=server.words("adder_plugins"),
        setupper_plugins=server.words("setupper_plugins"),
        transformation=server.text("transformation", _transformation(server)),
        heartbeat_timeout=server.number("heartbeat_timeout", 7200, lowest=1),
        rate_limit=server.number("rate_limit", 1200, lowest=0),
        rate_limit_production=server.number("rate_limit_production", 0, lowest=0),
        # A monitoring page asks some ten times a minute; all those of a site may come from one address.
        rate_limit_anonymous=server.number("rate_limit_anonymous", 300, lowest=0),
    )
    wsgi_settings(environ, faults)
    return settings, faults


def _transformation(server: "_Section") -> str:
    host = server.text("pserverhosthttp", server.text("pserverhost", "localhost"))
    return f"http://{host}:{server.number('pserverportcache', 25085, lowest=1, highest=65535)}/trf/user/runGen-00-00-02"


def wsgi_settings(environ: Mapping[str, str], faults: list[str]) -> WsgiSettings:
    """Reads the PANDA_SERVER_CONF_* variables that concern gunicorn."""

    def number(name: str, default: int, highest: int) -> int:
        text = environ.get(name, str(default))
        if text.isdigit() and 1 <= int(text) <= highest:
            return int(text)
        faults.append(f"environment: {name}={text}: must be a whole number from 1 to {highest}")
        return default

    return WsgiSettings(
        workers=number("PANDA_SERVER_CONF_NUM_WSGI", 12, 1000),
        # One thread per process, as the public package runs; more only helps when requests wait for the database.
        threads=number("PANDA_SERVER_CONF_NUM_WSGI_THREAD", 1, 1000),
        backlog=number("PANDA_SERVER_CONF_MAX_BACKLOG", 511, 65535),
    )


def _database(server: "_Section") -> DatabaseSettings:
    backend = server.choice("backend", "oracle", tuple(DEFAULT_PORTS))
    remote = backend != "sqlite"
    name_required = backend in ("postgres", "mysql", "sqlite")
    pool_key = "nDBConnection" if "nDBConnection" in server else "nDBConForFastCGIWSGI"
    settings = DatabaseSettings(
        backend=backend,
        host=server.text("dbhost", "", required=remote),
        port=server.number("dbport", DEFAULT_PORTS.get(backend, 0), lowest=0, highest=65535),
        user=server.text("dbuser", "", required=remote),
        password=server.text("dbpasswd", "", required=remote, remedy="set it to $PANDA_DB_PASSWORD"),
        name=server.text("dbname", "", required=name_required),
        pool_size=server.number(pool_key, 1, lowest=1, highest=1000),
        call_timeout=server.number("dbtimeout", 300, lowest=1) if server.boolean("usedbtimeout", True) else None,
        schema=server.text("schemaPANDA", "ATLAS_PANDA"),
    )
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_$#]*", settings.schema):
        server.fault("schemaPANDA", f"is {settings.schema!r}; must be the name of a schema")
    if backend == "sqlite" and settings.name and not settings.name.startswith("/"):
        server.fault("dbname", "must be the absolute path of the SQLite file, as /var/lib/panda/panda.db")
    return settings


def _daemon(daemon: "_Section") -> DaemonSettings:
    package = daemon.text("package", "panda_node.daemon.jobs")
    jobs = []
    for name, entry in daemon.mapping("config", DEFAULT_JOBS).items():
        if not isinstance(entry, dict):
            daemon.fault("config", f"job {name}: must be a JSON object with enable and period")
            continue
        job = _Job(daemon, name, entry)
        period = job.seconds("period", 300)
        settings = JobSettings(
            name=name,
            module=f"{package}.{job.text('module', name)}",
            period=period,
            timeout=job.seconds("timeout", max(period, 60)),
            sync=job.boolean("sync", False),
            arguments=tuple(str(argument) for argument in entry.get("arguments") or ()),
        )
        if job.boolean("enable", True):
            jobs.append(settings)
    return DaemonSettings(
        enable=daemon.boolean("enable", False),
        processes=daemon.number("n_proc", 2, lowest=1, highest=1000),
        jobs=tuple(jobs),
    )


class _Section:
    """Typed reading of one section. A fault is noted and the default returned, so that all faults come out together."""

    def __init__(self, sections: Sections, name: str, file: str, faults: list[str], missing: set[str]) -> None:
        self._values: dict[str, Value] = sections.get(name, {})
        self._name = name
        self._file = file
        self._faults = faults
        self._file_missing = file in missing

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def fault(self, key: str, problem: str) -> None:
        where = self._values[key].file if key in self._values else self._file
        self._faults.append(f"{where}: [{self._name}] {key}: {problem}")

    def text(self, key: str, default: str, required: bool = False, remedy: str = "set it") -> str:
        value = self._values.get(key)
        if value is None or value.content == "":
            if required and not self._file_missing:
                self.fault(key, f"is missing; {remedy}")
            return default
        return default if value.content is None else str(value.content)

    def words(self, key: str) -> tuple[str, ...]:
        """Items that are separated by commas."""
        return tuple(item.strip() for item in self.text(key, "").split(",") if item.strip())

    def path(self, key: str, default: str) -> Path:
        text = self.text(key, default)
        if not text.startswith("/"):
            self.fault(key, f"is {text!r}; must be an absolute path")
        return Path(text)

    def choice(self, key: str, default: str, choices: Sequence[str]) -> str:
        text = self.text(key, default)
        if text in choices:
            return text
        self.fault(key, f"is {text!r}; must be one of {', '.join(choices)}")
        return default

    def number(self, key: str, default: int, lowest: int, highest: int | None = None) -> int:
        text = self.text(key, str(default))
        if re.fullmatch(r"\d{1,9}", text) and lowest <= int(text) and (highest is None or int(text) <= highest):
            return int(text)
        limits = f"at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        self.fault(key, f"is {text!r}; must be a whole number, {limits}")
        return default

    def boolean(self, key: str, default: bool) -> bool:
        text = self.text(key, str(default))
        if text in ("True", "False"):
            return text == "True"
        self.fault(key, f"is {text!r}; must be True or False")
        return default

    def mapping(self, key: str, default: dict[str, object]) -> dict[str, object]:
        value = self._values.get(key)
        if value is None or value.content is None or value.content == "":
            return default
        content = value.content
        if isinstance(content, str):
            try:
                content = json.loads(content)
            except ValueError as error:
                self.fault(key, f"is not JSON: {error}; in the cfg file its lines have to be indented")
                return default
        if isinstance(content, dict):
            return content
        self.fault(key, "must be one JSON object")
        return default


class _Job:
    """Typed reading of one job's entry in [daemon] config."""

    def __init__(self, section: _Section, name: str, entry: Mapping[str, object]) -> None:
        self._section = section
        self._name = name
        self._entry = entry

    def text(self, key: str, default: str) -> str:
        value = self._entry.get(key)
        return default if value in (None, "") else str(value)

    def seconds(self, key: str, default: float) -> float:
        value = self._entry.get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(value)
        self._section.fault("config", f"job {self._name}: {key} is {value!r}; must be seconds, more than 0")
        return default

    def boolean(self, key: str, default: bool) -> bool:
        value = self._entry.get(key, default)
        if isinstance(value, bool):
            return value
        self._section.fault("config", f"job {self._name}: {key} is {value!r}; must be true or false")
        return default
