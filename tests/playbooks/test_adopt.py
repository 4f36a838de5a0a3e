"""The report of roles/panda_server/tasks/adopt.yml, from files as a node has them."""

from __future__ import annotations

from pathlib import Path

import yaml

from .conftest import enter_role

ROOT = Path(__file__).resolve().parents[2]


def test_the_report_names_what_would_change_and_shows_no_secret(tmp_path: Path) -> None:
    role = tmp_path / "roles" / "panda_server"
    (role / "tasks").mkdir(parents=True)
    for folder in ("defaults", "vars", "templates"):
        (role / folder).symlink_to(ROOT / "roles/panda_server" / folder)
    tasks = yaml.safe_load((ROOT / "roles/panda_server/tasks/adopt.yml").read_text())
    # Up to the report: what comes after it needs what the wheelhouse is made of.
    report = [task["name"] for task in tasks].index("Say what provisioning would change in it")
    (role / "tasks" / "adopt.yml").write_text(yaml.safe_dump(tasks[: report + 1]))
    home = tmp_path / "home"
    (home / "etc" / "panda").mkdir(parents=True)
    (home / "etc" / "config_json").mkdir()
    (home / "etc/panda/panda_common.cfg").write_text("[logger]\nlogdir = /data/log\n")
    (home / "etc/panda/panda_server.cfg").write_text("[server]\ndbhost = old\ndbpasswd = s3cret-old\n")
    (home / "etc/config_json/panda_server_config.json").write_text('{"server": {"dbname": "of the overlay"}}')
    (home / "etc/panda/panda_jedi.cfg").write_text("[jobgen]\nnWorkers = 77\n")
    given = {
        "panda_server_home": str(home),
        "panda_server_payload": "panda-server",
        "panda_server_backend": "postgres",
        "panda_server_dbhost": "new",
        "panda_server_dbpasswd": "s3cret-new",
        "panda_server_jedi_enabled": True,
    }
    done = enter_role("adopt.yml", tmp_path, given, "--check", roles=tmp_path / "roles")
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        "panda_common.cfg [logger] logdir: is /data/log, and would be /var/log/panda",
        "panda_server.cfg [server] dbhost: is old, and would be new",
        "panda_server.cfg [server] dbpasswd: is (not shown), and would be (not shown)",
        "panda_server.cfg [server] dbname: is of the overlay, and would be panda_db",
        "panda_jedi.cfg [jobgen] nWorkers: is 77, and would be 5",
        "environment: there is no /etc/sysconfig/panda_server_env and no /etc/sysconfig/panda_server: nothing to",
    ):
        assert line in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
