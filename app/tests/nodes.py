"""A node in a temporary directory, and what stands in for its systemd."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from panda_node import cli, config
from panda_node.config import Settings
from panda_node.db import migrate

from app.tests.databases import PASSWORD


@dataclass
class Node:
    """Configuration, logs and data of one node."""

    directory: Path
    server: dict[str, object]
    daemon: dict[str, object] = field(default_factory=lambda: {"enable": True})
    environment: dict[str, str] = field(default_factory=dict)
    _started: "list[subprocess.Popen[str]]" = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        for name in ("etc/panda", "log", "db"):
            (self.directory / name).mkdir(parents=True)
        self.environment = {
            "HOME": str(self.directory),
            "PANDA_HOME": str(self.directory),
            "PANDA_NODE_STATE_FILE": str(self.state_file),
            "PANDA_DB_PASSWORD": PASSWORD,
            "PATH": os.environ["PATH"],
            **self.environment,
        }
        self.state_file.write_text("production\n")
        self.write()

    @property
    def state_file(self) -> Path:
        return self.directory / "node_state"

    @property
    def cache(self) -> Path:
        return self.directory / "schedconfig"

    def write(self) -> None:
        """Writes the two cfg files."""
        server = {"schedconfig_cache_dir": self.cache, **self.server}
        sections = {"server": server, "daemon": self.daemon}
        text = ""
        for section, values in sections.items():
            text += f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
        (self.directory / "etc/panda/panda_server.cfg").write_text(text)
        (self.directory / "etc/panda/panda_common.cfg").write_text(f"[logger]\nlogdir = {self.directory / 'log'}\n")

    def settings(self) -> Settings:
        return config.load(self.environment)

    def popen(self, *command: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._started.append(process)
        return process

    def end_processes(self) -> None:
        """Ends what a failed test left running."""
        for process in self._started:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=10)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs a panda-node command in this process, which saves its start; stdout and stderr come together."""
        output = io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
        ):
            code = cli.main(arguments)
        return subprocess.CompletedProcess(arguments, code, output.getvalue())

    def install_schema(self) -> None:
        migrate.upgrade(self.settings().database)

    def log(self, name: str) -> str:
        """What a log file holds; nothing, as long as nobody has opened it."""
        file = self.directory / "log" / name
        return file.read_text() if file.exists() else ""

    def load_queues(self, queues: dict[str, object]) -> None:
        file = self.directory / "queues.json"
        file.write_text(json.dumps(queues))
        done = self.run("queue", "load", str(file))
        assert done.returncode == 0, done.stdout


class NotifySocket:
    """Stands in for systemd: collects what a service of Type=notify says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._messages: list[str] = []

    @property
    def messages(self) -> list[str]:
        """All messages so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._messages.append(self._socket.recv(4096, socket.MSG_DONTWAIT).decode())
        return self._messages
