"""Ask `site.yml --check` what it would change, in a run of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

CALLBACK = "panda.provision.changes"


class NotLookedError(Exception):
    """Why it cannot be told what would change, and what to do about it."""


def arguments(cli: Mapping[str, Any]) -> list[str]:
    """The options of the running ansible-playbook that the other run needs too."""
    if any(cli.get(asked) for asked in ("ask_pass", "become_ask_pass")) or prompts(cli):
        raise NotLookedError(
            "a password that was typed in cannot be handed on: give it by a file (--vault-password-file, "
            "--connection-password-file, --become-password-file), or leave drift out with -e health_drift=false"
        )
    found: list[str] = []
    for option, name in (
        ("--inventory", "inventory"),
        ("--extra-vars", "extra_vars"),
        ("--vault-password-file", "vault_password_files"),
        ("--vault-id", "vault_ids"),
    ):
        for value in cli.get(name) or ():
            found += [option, str(value)]
    for option, name in (
        ("--user", "remote_user"),
        ("--private-key", "private_key_file"),
        ("--connection", "connection"),
        ("--timeout", "timeout"),
        ("--ssh-common-args", "ssh_common_args"),
        ("--ssh-extra-args", "ssh_extra_args"),
        ("--become-method", "become_method"),
        ("--become-user", "become_user"),
        ("--connection-password-file", "connection_password_file"),
        ("--become-password-file", "become_password_file"),
        ("--forks", "forks"),
    ):
        if cli.get(name):
            # One word: a value may begin with a dash.
            found.append(f"{option}={cli[name]}")
    return found + (["--become"] if cli.get("become") else [])


def prompts(cli: Mapping[str, Any]) -> bool:
    """Whether a vault's password was typed in."""
    return bool(cli.get("ask_vault_pass")) or any(
        str(vault).endswith("@prompt") for vault in cli.get("vault_ids") or ()
    )


def look(
    playbook: Path, hosts: Sequence[str], cli: Mapping[str, Any], config: str | None, seconds: float
) -> dict[str, list[dict[str, Any]]]:
    """Host to what the playbook would change there. Hosts without a change are absent."""
    command = [
        sys.executable, "-m", "ansible", "playbook", str(playbook), "--check", "--limit", ",".join(hosts),
        *arguments(cli),
    ]  # fmt: skip
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": CALLBACK, "ANSIBLE_FORCE_COLOR": "false"}
    if config:
        environment["ANSIBLE_CONFIG"] = config
    # A group of its own, so that all of it can be ended.
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        text=True, start_new_session=True,
    ) as run:  # fmt: skip
        try:
            out, err = run.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            os.killpg(run.pid, signal.SIGKILL)
            raise NotLookedError(
                f"{playbook.name} --check did not end within {seconds:g} s: raise health_drift_seconds"
            ) from error
    found = read(out.splitlines())
    # 2: a host failed, 4: a host was unreachable. Both are in the lines.
    if run.returncode not in (0, 2, 4) or (run.returncode and not found):
        raise NotLookedError(f"{playbook.name} --check ended with {run.returncode}: {(err or out).strip()[-500:]}")
    return found


def read(lines: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Host to what the callback said of it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        if line.startswith("{"):
            said = json.loads(line)
            found.setdefault(said.pop("host"), []).append(said)
    return found
