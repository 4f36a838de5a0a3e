"""Everything that can be said against a configuration of the public package without starting it.

The package swallows plugins that it cannot load, and fails on other things only when it is started. So it is loaded
here, in a process of its own, with the files as they would be installed.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from panda_node.config import Settings
from panda_node.config_files import COMMON_FILE, SERVER_FILE

SECONDS = 120

TRY = """
import configparser, importlib, json, os, sys
faults = []
def attempt(what, name, attribute=None):
    try:
        module = importlib.import_module(name)
        return getattr(module, attribute) if attribute else module
    except BaseException as error:
        faults.append(f"{what}: {type(error).__name__}: {error}")
parser = attempt("panda-common cannot be loaded", "pandacommon.liveconfigparser.LiveConfigParser", "LiveConfigParser")
if parser is not None:
    # Only the files to be judged: those in /etc/panda would lend them what they lack.
    def read(self, name, *_):
        folders = [os.path.join(os.environ["PANDA_HOME"], folder) for folder in ("etc/panda", "usr/etc/panda")]
        configparser.ConfigParser.read(self, [os.path.join(folder, name) for folder in folders])
    parser.read = read
config = attempt("panda_server.cfg: the package does not take it", "pandaserver.config.panda_config")
if config is not None:
    for parameter in ("adder_plugins", "setupper_plugins", "closer_plugins"):
        for plugin in filter(None, (part.strip() for part in str(getattr(config, parameter, "") or "").split(","))):
            parts = plugin.split(":")
            if len(parts) not in (3, 4):
                faults.append(f"[server] {parameter}: {plugin}: must be vo:module:class")
            else:
                attempt(f"[server] {parameter}: {plugin}", parts[1], parts[2])
    config.nDBConnection = 0
    what = "panda-server cannot be loaded with this configuration"
    application = attempt(what, "pandaserver.server.panda", "application")
    if application is not None:
        request = {"SCRIPT_NAME": "/api/v1/system/is_alive", "REQUEST_METHOD": "GET", "HTTP_ACCEPT": "application/json"}
        status = []
        answer = b"".join(application(request, lambda line, headers: status.append(line)))
        if status != ["200 OK"]:
            faults.append(f"panda-server does not answer is_alive with this configuration: {answer.decode()[:300]}")
print("FAULTS" + json.dumps(faults))
sys.stdout.flush()
os._exit(0)
"""


def faults(
    settings: Settings, directories: Sequence[Path], overlay: Path | None, environ: Mapping[str, str]
) -> list[str]:
    """A backend that the package does not know, or what it says when it is loaded."""
    backend = settings.database.backend
    if backend not in ("postgres", "oracle"):  # its code for MySQL can store neither a task nor a job
        return [f"{SERVER_FILE}: [server] backend: is {backend}; panda-server runs on postgres or oracle"]
    return _loading_faults(directories, overlay, environ)


def _loading_faults(directories: Sequence[Path], overlay: Path | None, environ: Mapping[str, str]) -> list[str]:
    """Loads the package on the files given, in their order, without a database and with logs that are thrown away."""
    with tempfile.TemporaryDirectory(prefix="panda-node-check-") as scratch:
        home = Path(scratch)
        for folder in ("etc/panda", "usr/etc/panda", "etc/config_json", "log"):
            (home / folder).mkdir(parents=True)
        for name in (COMMON_FILE, SERVER_FILE):
            for directory in directories:
                if (directory / name).is_file():
                    (home / "etc/panda" / name).write_text((directory / name).read_text(encoding="utf-8"))
        # Read last, so that it wins.
        (home / "usr/etc/panda" / COMMON_FILE).write_text(f"[logger]\nlogdir = {home}/log\nrotating_policy = none\n")
        if overlay and overlay.is_file():
            (home / "etc/config_json/panda_server_config.json").write_text(overlay.read_text(encoding="utf-8"))
        surroundings = {**os.environ, **environ, "PANDA_HOME": scratch, "HOME": scratch}
        command = [sys.executable, "-c", TRY]
        try:
            done = subprocess.run(
                command, env=surroundings, cwd=scratch, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return [f"panda-server is not loaded within {SECONDS} s with this configuration"]
    _, marker, verdict = done.stdout.rpartition("FAULTS")
    if not marker:
        return [f"panda-server cannot be loaded with this configuration: {done.stderr.strip()[-500:]}"]
    answer: list[str] = json.loads(verdict)
    return answer
