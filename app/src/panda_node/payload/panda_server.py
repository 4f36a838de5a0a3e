"""The public panda-server package as payload: mounted as it is, with this package's own endpoints beside it.

The package reads SCRIPT_NAME where others read PATH_INFO, and takes the client's identity from variables that
mod_ssl sets. Both are made here from what httpd passes on. It connects to the database when it is imported and waits
there for as long as the database is away, so a worker imports it only when the database answers.
"""

import importlib
import json
import logging
import os
import pkgutil
import signal
import sys
import time
import types
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock
from typing import Any

import falcon

from panda_node import identity, log_files, metrics, systemd
from panda_node.config import DatabaseSettings, Settings
from panda_node.db import drivers, version
from panda_node.db.version import Requirement, Version
from panda_node.errors import ConfigurationError, DatabaseRefusalError, DatabaseUnreachableError
from panda_node.payload.panda_server_check import faults as configuration_faults
from panda_node.readiness import TIME_LIMIT, ReadinessCheck
from panda_node.timed import TimedCall
from panda_node.web import legacy, node, requests

__all__ = [
    "burn_in",
    "configuration_faults",
    "create_application",
    "end_worker",
    "prepare",
    "requirement",
    "run_daemon",
    "run_service",
]

COMPONENT = "PanDA"
UPGRADE_HINT = "bring the PanDA database up to date, or install an older release"
SHARED = (
    "pandaserver.taskbuffer.TaskBuffer",
    "pandaserver.srvcore.allowed_methods",
    "pandaserver.srvcore.panda_request",
    "pandaserver.userinterface.Client",
    "pandaserver.userinterface.UserIF",
)
"""What the package's entry point imports and which connects to nothing: loaded once, before workers are forked."""

StartResponse = Callable[..., Any]
Environ = dict[str, Any]

_log = log_files.get("node")


def prepare(settings: Settings) -> None:
    """Loads the package's modules, whose memory all workers then share; not its entry point, which connects."""
    follow_renamed_logs()
    _import("pandaserver.config.panda_config")
    for name in SHARED:
        _import(name)
    api = _import("pandaserver.api.v1")
    for module in pkgutil.iter_modules(api.__path__):
        _import(f"pandaserver.api.v1.{module.name}")


def create_application(settings: Settings) -> "Mounted":
    """The application of one worker."""
    follow_renamed_logs()
    log_files.open_logs(settings.log_directory, settings.log_level, "node")
    application: falcon.App[falcon.Request, falcon.Response] = falcon.App(middleware=[requests.RequestRecorder()])
    requests.add_error_handlers(application)
    application.add_route("/server/panda/isAlive", legacy.IsAlive())
    required = requirement(settings)

    def ask() -> None:
        version.ask(settings.database, required, int(TIME_LIMIT))

    check = ReadinessCheck(ask, settings.node_state_file, settings.database)
    node.add_routes(application, settings, check, required, None)
    return Mounted(settings.database, application)


def requirement(settings: Settings) -> Requirement:
    """The schema that the installed package says it needs."""
    follow_renamed_logs()
    said = str(_import("pandaserver.taskbuffer.PandaDBSchemaInfo").PandaDBSchemaInfo().method())
    try:
        major, minor, patch = (int(part) for part in said.split("."))
    except ValueError as error:
        raise ConfigurationError(
            [f"panda-server says that it needs the schema '{said}', which is no version"]
        ) from error
    # As the package's own check: any newer one will do.
    table = f"{settings.database.schema}.pandadb_version"
    return Requirement(COMPONENT, Version(major, minor, patch), table, UPGRADE_HINT, same_major=False)


def burn_in(settings: Settings, path: Path, _: float) -> list[str]:
    """Makes itself known, which the package looks up in the database."""
    from panda_node import burn_in as brought

    return brought.make_known(settings, path)


def end_worker() -> None:
    """Ends the process at once: the package would first spend up to 17 s on sending away its database process.

    That one ends by itself when the worker's end of their socket is gone.
    """
    os._exit(0)


def run_daemon(_: Settings) -> None:
    """The package's daemon. A stop ends it with code 0; what it leaves running, systemd ends with it."""
    os.umask(0o022)
    follow_renamed_logs()
    if not getattr(_import("pandaserver.config.daemon_config"), "enable", False):
        systemd.notify(READY=1, STATUS="Disabled: [daemon] enable is False")
        return
    master = _import("pandaserver.daemons.master_systemd")

    class Reporting(master.DaemonMaster):  # type: ignore[misc, name-defined]
        """Tells systemd how it is."""

        def run(self) -> None:
            systemd.notify(READY=1)
            super().run()

        def _scheduler_cycle(self) -> None:
            running = sorted(name for name, job in self.dem_run_map.items() if job["dem_running"])
            systemd.notify(STATUS=f"Workers: {len(self.worker_pool)}; Running: {', '.join(running) or 'none'}")
            super()._scheduler_cycle()

    master.DaemonMaster = Reporting
    # Its own would send SIGKILL to its whole group, itself included, which systemd takes for a failure.
    master.kill_whole = lambda: os._exit(0)
    master.main()


def run_service(name: str) -> None:
    """JEDI or the MCP server. A stop ends it with code 0, and systemd ends the processes that it leaves."""
    os.umask(0o022)
    follow_renamed_logs()
    {"jedi": _run_jedi, "mcp": _run_mcp}[name]()


def _run_jedi() -> None:
    # It imports some modules of these two by their bare names.
    for package in ("pandacommon", "pandaserver"):
        sys.path += _import(package).__path__
    master = _import("pandajedi.jediorder.JediMaster").JediMaster()
    # Its own handler would send SIGKILL to its whole group, itself included, which systemd takes for a failure.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    master.start()


def _run_mcp() -> None:
    server = _import("pandaserver.pandamcp.mcp_main")
    port = int(os.environ.get("PANDA_SERVER_CONF_PORT_MCP", "25888"))
    # Its own start listens to everybody, past httpd.
    _import("uvicorn").run(server.http_app, host="127.0.0.1", port=port, log_config=server.LOG_CONFIG)


class Mounted:
    """The package below /api/ and /server/panda/, and this package's endpoints in all other places."""

    def __init__(self, database: DatabaseSettings, application: Any) -> None:
        self._database = database
        self._application = application
        self._package: Callable[[Environ, StartResponse], Iterable[bytes]] | None = None
        self._lock = Lock()
        self._load()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/server/panda/isAlive" or not path.startswith(("/api/", "/server/panda/")):
            answer: Iterable[bytes] = self._application(environ, start_response)
            return answer
        start = time.perf_counter()
        status, headers = "", []

        def started(line: str, given: list[tuple[str, str]], *_: Any) -> Callable[[bytes], None]:
            nonlocal status, headers
            status, headers = line, given
            return _no_write

        package = self._package or self._load()
        answer = package(translated(environ), started) if package else _unavailable(started)
        if isinstance(answer, list) and not any(name.lower() == "content-length" for name, _ in headers):
            # As mod_wsgi does: gunicorn would send it in chunks, which httpd has to take apart and make anew.
            headers = [*headers, ("Content-Length", str(sum(map(len, answer))))]
        start_response(status, headers)
        # Another path than one of its methods is answered with 403: no client can make labels of its own.
        route = path if status[:3] not in ("403", "503") else "/api/other"
        method = requests.known_method(environ["REQUEST_METHOD"])
        metrics.answered(route, method, int(status[:3] or 0), time.perf_counter() - start)
        return answer

    def _load(self) -> Callable[[Environ, StartResponse], Iterable[bytes]] | None:
        """The package's entry point; None while the database is away."""
        with self._lock:
            if self._package is None and _answers(self._database):
                self._package = _import("pandaserver.server.panda").application
            return self._package


def translated(environ: Environ) -> Environ:
    """The request as mod_wsgi and mod_ssl would present it. httpd removes these headers from what a client sends."""
    environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    environ["PATH_INFO"] = ""
    verified = environ.pop("HTTP_X_SSL_CLIENT_VERIFY", "NONE")
    subject = environ.pop("HTTP_X_SSL_CLIENT_S_DN", "")
    owner = identity.owner_of(subject, environ.pop("HTTP_X_GRST_CONN_AURI_0", ""))
    fqans = identity.fqans_of(environ.pop("HTTP_X_GRST_VOMS_FQANS", ""))
    issuer = environ.pop("HTTP_X_SSL_CLIENT_I_DN", "")
    environ["SSL_CLIENT_VERIFY"] = verified
    if verified == "SUCCESS" and subject.startswith("/"):
        # The package lets no limited proxy in, which it knows by its name.
        environ["SSL_CLIENT_S_DN"] = subject if identity.LIMITED in subject else owner
        environ["SSL_CLIENT_I_DN"] = issuer
        # As mod_gridsite presents them.
        environ |= {f"GRST_CRED_{number}": f"VOMS {fqan}" for number, fqan in enumerate(fqans)}
    if environ.get("HTTP_X_FORWARDED_PROTO") == "https":
        environ["wsgi.url_scheme"] = "https"
        environ["HTTPS"] = "on"
    # httpd appends the address that it saw.
    environ["REMOTE_ADDR"] = environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    return environ


def follow_renamed_logs() -> None:
    """Makes the package's log handlers open a file anew that logrotate has renamed, as this package's own do."""
    module = _import("pandacommon.pandalogger.PandaLogger")
    if isinstance(module.logging, _Logging):
        return
    module.logging = _Logging("logging")
    # Made while the module was imported.
    for name, logger in module.loggerMap.items():
        for handler in [handler for handler in logger.handlers if type(handler) is logging.FileHandler]:
            new = log_files.SharedFileHandler(handler.baseFilename)
            new.setLevel(handler.level)
            new.setFormatter(handler.formatter)
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).addHandler(new)
            handler.close()
            _only_owner_writes(Path(handler.baseFilename))


class _Logging(types.ModuleType):
    """The module `logging` with another FileHandler."""

    FileHandler = log_files.SharedFileHandler

    def __getattr__(self, name: str) -> Any:
        return getattr(logging, name)


def _only_owner_writes(file: Path) -> None:
    """The package lets everybody write to panda.log, so that root may start it before another account does."""
    with suppress(OSError):  # of a file that is not ours: nor is its mode
        file.chmod(0o644)


def _answers(database: DatabaseSettings) -> bool:
    """Whether the database lets us in within the time that the check of the schema would take."""

    def connect() -> None:
        with closing(drivers.connect(database, int(TIME_LIMIT))):
            pass

    try:
        TimedCall(connect).result(2 * TIME_LIMIT)
    except (TimeoutError, DatabaseUnreachableError, DatabaseRefusalError, ConfigurationError) as error:
        _log.error("the package is not loaded yet: %s", error)
        return False
    return True


def _no_write(_: bytes) -> None:
    raise NotImplementedError("the package returns its answers")


def _unavailable(start_response: StartResponse) -> Iterable[bytes]:
    body = {"success": False, "message": "database unreachable, try again later", "data": None}
    start_response("503 Service Unavailable", [("Content-Type", "application/json"), ("Retry-After", "10")])
    return [json.dumps(body).encode()]


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError([f"panda-server cannot be loaded: {name}: {type(error).__name__}: {error}"]) from error
