"""What would start Puppet, or another unit, is found by what systemd, cron and the processes say."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.module_utils import node

from .conftest import Systemd


class Module:
    """As much of an AnsibleModule as is asked."""

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr


MODULE: Any = Module()


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"UnitFileState": "enabled", "ActiveState": "active"}, "active and enabled"),
        ({"UnitFileState": "enabled", "ActiveState": "inactive"}, "enabled"),
        ({"UnitFileState": "enabled-runtime", "ActiveState": "failed"}, "enabled-runtime"),
        ({"UnitFileState": "disabled", "ActiveState": "active"}, "active"),
        ({"UnitFileState": "static", "ActiveState": "activating"}, "activating"),
        ({"UnitFileState": "static", "WantedBy": "multi-user.target"}, "wanted by multi-user.target"),
        ({"UnitFileState": "generated", "WantedBy": "a.target b.target"}, "wanted by a.target, b.target"),
        ({"UnitFileState": "indirect", "RequiredBy": "a.target"}, "wanted by a.target"),
        ({"UnitFileState": "linked", "ActiveState": "inactive"}, ""),
        ({"UnitFileState": "static", "ActiveState": "inactive"}, ""),
        ({"UnitFileState": "generated", "ActiveState": "inactive"}, ""),
        ({"UnitFileState": "disabled", "ActiveState": "inactive"}, ""),
        ({"LoadState": "masked", "UnitFileState": "masked", "WantedBy": "multi-user.target"}, ""),
        ({"LoadState": "masked", "UnitFileState": "masked", "ActiveState": "active"}, "active"),
        ({"LoadState": "not-found", "WantedBy": "multi-user.target"}, ""),
    ],
)
def test_a_unit_that_runs_or_will_be_started_is_told(systemd: Systemd, state: dict[str, str], said: str) -> None:
    systemd(**{"a.service": state})
    assert node.starting(MODULE, ["a.service", "not-there.service"]) == ({"a.service": said} if said else {})


def test_an_alias_is_told_by_the_unit_that_it_stands_for(systemd: Systemd) -> None:
    state = {"Id": "puppet.service", "UnitFileState": "enabled", "ActiveState": "active"}
    systemd(**{"puppet.service": state, "puppet-agent.service": state})
    assert node.starting(MODULE, node.PUPPET) == {"puppet.service": "active and enabled"}


def test_without_systemd_no_unit_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "systemctl").write_text("#!/bin/sh\necho Failed to connect to bus >&2\nexit 1\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert node.starting(MODULE, node.PUPPET) == {}


@pytest.mark.parametrize(
    "unit", ["puppet.service", "pe-puppet.service", "puppet-agent.service", "puppet-run.timer", "puppet.timer"]
)
def test_each_unit_of_the_agent_is_found_with_the_way_to_turn_it_off(
    systemd: Systemd, tmp_path: Path, unit: str
) -> None:
    systemd(**{unit: {"UnitFileState": "enabled", "ActiveState": "active"}})
    (said,) = node.puppet(MODULE, str(tmp_path))
    assert said.startswith(f"{unit} is active and enabled (systemctl disable --now {unit};")


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("etc/cron.d/puppet", "# by hand\nMAILTO=root\n\n*/30 * * * * root /usr/local/bin/run-it\n", 4),
        ("etc/cron.d/site-puppet-run", "0 * * * * root run\n", 1),
        ("etc/cron.d/site", "0 * * * * root /opt/puppetlabs/bin/puppet agent --onetime\n", 1),
        ("etc/cron.hourly/puppet", "#!/bin/sh\nrun\n", 2),
        ("etc/crontab", "0 * * * * root puppet apply /root/site.pp\n", 1),
        ("var/spool/cron/root", "0 * * * * puppet agent -t\n", 1),
        ("var/spool/cron/crontabs/root", "0 * * * * puppet  agent -t\n", 1),
        ("etc/cron.d/puppet", "#0 * * * * root puppet agent\n", 0),
        ("etc/cron.d/site", "# Puppet Name: site\n0 * * * * root fetch-crl\n", 0),
        ("var/spool/cron/panda", "0 * * * * puppet agent -t\n", 0),
    ],
)
def test_a_job_of_cron_is_found_by_its_line(systemd: Systemd, tmp_path: Path, path: str, text: str, line: int) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text)
    expected = [f"{tmp_path}/{path}, line {line}, runs it (take it out)"] if line else []
    assert node.puppet(MODULE, str(tmp_path)) == expected


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("/opt/puppetlabs/puppet/bin/ruby /opt/puppetlabs/puppet/bin/puppet agent --test", True),
        ("puppet agent: applying configuration", True),
        ("/bin/sh /usr/bin/puppet agent", True),
        ("puppet agent", True),
        ("grep puppet agent", False),
        ("/usr/bin/puppetserver agent", False),
        ("puppet agentless", False),
        ("", False),
    ],
)
def test_an_agent_that_was_started_by_hand_is_found(
    systemd: Systemd, tmp_path: Path, command: str, found: bool
) -> None:
    process = tmp_path / "proc" / "4194305"
    process.mkdir(parents=True)
    (process / "cmdline").write_text(command.replace(" ", "\0"))
    said = node.puppet(MODULE, str(tmp_path))
    assert said == ([f"process 4194305 is `{command}` (wait for its end, or kill 4194305)"] if found else [])


def test_the_process_of_a_unit_that_is_told_is_not_told_again(
    systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd(**{"puppet.service": {"UnitFileState": "enabled", "ActiveState": "active"}})
    process = tmp_path / "proc" / "7"
    process.mkdir(parents=True)
    (process / "cmdline").write_text("puppet\0agent")
    monkeypatch.setattr(node, "owner", lambda _: {"unit": "puppet.service"})
    assert len(node.puppet(MODULE, str(tmp_path))) == 1
