"""That everything is refused in one report, by the real action in a real playbook."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from .conftest import ROOT, MakePair, own_name
from .preflight_nodes import POSTGRES, SERVICE


class Report:
    """What a playbook says of a host with these variables."""

    def __init__(self, folder: Path, variables: dict[str, Any], playbook: str = "site.yml") -> None:
        inventory = folder / "hosts.yml"
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
        inventory.write_text(yaml.safe_dump({"panda_servers": {"hosts": {"node-1": host}}}))
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), playbook],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        self.code, self.text = done.returncode, done.stdout + done.stderr
        rest = self.text.partition("To mend first (")[2]
        self.count = int(re.match(r"\d+", rest)[0]) if rest else 0
        self.faults = re.findall(r"^ +\d+\. (.+)$", rest, re.MULTILINE)[: self.count]

    def has(self, *words: str) -> bool:
        """Whether exactly one fault holds all these words."""
        return len([fault for fault in self.faults if all(word in fault for word in words)]) == 1


def test_everything_wrong_is_in_one_report_and_nothing_was_changed(
    make_pair: MakePair, tmp_path: Path, taken_port: int, closed_port: int
) -> None:
    pair, other = make_pair("other.cern.ch", valid_from=-9, valid_to=-2), make_pair(SERVICE)
    (tmp_path / "hostcert.pem").write_text(pair.certificate)
    (tmp_path / "hostkey.pem").write_text(other.key)
    stale = tmp_path / "home/etc/panda/panda_server.cfg"
    stale.parent.mkdir(parents=True)
    stale.write_text("[server]\n")
    (tmp_path / "wheelhouse.tar").write_text("damaged")
    (tmp_path / "wheelhouse.tar.sha256").write_text("0" * 64)
    before = sorted(tmp_path.rglob("*"))
    report = Report(
        tmp_path,
        {
            "panda_server_num_wsgi": "many",
            "panda_server_poort": 1,
            "panda_server_port": taken_port,
            "panda_server_backend": "postgres",
            "panda_server_dbhost": "127.0.0.1",
            "panda_server_dbport": closed_port,
            "panda_server_dbuser": "panda",
            "panda_server_home": f"{tmp_path}/home",
            "panda_server_hostcert": f"{tmp_path}/hostcert.pem",
            "panda_server_hostkey": f"{tmp_path}/hostkey.pem",
            "panda_server_chain": f"{tmp_path}/chain.pem",
            "panda_server_wheelhouse": f"{tmp_path}/wheelhouse.tar",
            "panda_server_environment": {"A": "two\nlines"},
            "squid_cache_mem": 0,
            "logrotate_rotate": 0,
        },
    )
    assert report.code != 0
    assert report.has("panda_server_num_wsgi: ", "cannot be converted to an int"), report.text
    assert report.has("panda_server_poort: ", "no such variable")
    assert report.has(f"port {taken_port}/tcp", f"{own_name()} (process {os.getpid()},")
    assert report.has("panda_server_dbpasswd: is empty")
    assert report.has(f"the database at 127.0.0.1:{closed_port}", "Connection refused")
    assert report.has(f"{stale}: overrides /etc/panda/panda_server.cfg")
    assert report.has("hostcert.pem on the node: expired on")
    assert report.has(f"hostcert.pem on the node: is not valid for {SERVICE}")
    assert report.has("hostkey.pem on the node: does not fit", "it belongs to another certificate")
    assert report.has("chain.pem: no such file on the node")
    assert report.has("panda_server_wheelhouse: ", "its SHA-256 is ")
    assert report.has("panda_server_environment: 'A'")
    assert report.has("squid_cache_mem: is 0")
    assert report.has("logrotate_rotate: is 0")
    assert "changed=0 " in report.text
    assert report.text.count("TASK [") == 1
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "hosts.yml"])


def test_a_wrong_variable_is_reported_once_and_the_rest_is_judged_without_it(tmp_path: Path) -> None:
    """squid's default port of its origin, and the name of the database, are made of the wrong ones."""
    report = Report(
        tmp_path,
        {
            "panda_server_backend": "mongodb",
            "panda_server_port": "none",
            "panda_server_dbport": "{{ nowhere }}",
            "panda_server_certificate_source": "demo_ca",
            "panda_server_min_workers": 0,
            "panda_server_dbpasswd": "s3\ncret",
        },
    )
    assert report.has("panda_server_backend: ", "sqlite, postgres, oracle, mysql, got: mongodb"), report.text
    assert report.has("panda_server_port: ", "cannot be converted to an int")
    assert report.has("panda_server_dbport: ", "'nowhere' is undefined")
    assert report.has("panda_server_min_workers: is 0")
    assert report.has("panda_server_dbpasswd: holds a line break")
    assert [fault for fault in report.faults if "systemd does not run here" not in fault][5:] == []
    assert "cret" not in report.text


def test_a_database_that_is_away_keeps_no_node_from_a_renewed_certificate(tmp_path: Path, closed_port: int) -> None:
    variables = {
        **POSTGRES,
        "panda_server_dbhost": "127.0.0.1",
        "panda_server_dbport": closed_port,
        "panda_server_poort": 1,
        "panda_server_hostcert": f"{tmp_path}/hostcert.pem",
    }
    site = Report(tmp_path, variables)
    assert site.has(f"the database at 127.0.0.1:{closed_port}"), site.text
    renewal = Report(tmp_path, variables, "playbooks/certificates.yml")
    assert renewal.code != 0
    assert renewal.has("panda_server_poort: ", "no such variable")
    assert renewal.has("hostcert.pem: no such file on the node")
    assert not renewal.has("the database at")
