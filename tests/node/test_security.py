"""What an attacker from outside, or inside one of the services, does not get."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

PASSWORD_FILE = "/etc/panda/panda_server_secrets.env"


def password_of(settings: dict[str, Any]) -> str:
    password = str(settings["panda_server_dbpasswd"])
    if not password:
        pytest.skip("this node's database needs no password")
    return password


def test_the_password_lies_in_a_file_of_roots_alone(host: Any, settings: dict[str, Any]) -> None:
    file = host.file(PASSWORD_FILE)
    assert file.exists == bool(settings["panda_server_dbpasswd"])
    if file.exists:
        assert (file.user, file.group, file.mode) == ("root", "root", 0o600)


def test_the_password_is_in_no_other_file(host: Any, settings: dict[str, Any]) -> None:
    password = password_of(settings)
    assert len(password) > 8, "too common a word to look for"
    folders = ["/etc", "/opt", "/var/log", "/var/lib/panda", "/var/tmp", "/tmp", "/run/systemd", "/root"]
    folders += [settings["panda_server_home"], settings["panda_server_logdir"]]
    # Escaped in some files, so its longest plain part is what is looked for.
    part = max(re.split(r"[^A-Za-z0-9-]", password), key=len)
    found = host.run("grep -rlF --devices=skip -e %s " + " ".join(folders), part)
    assert found.stdout.split() == [PASSWORD_FILE]


def test_the_password_is_not_told_by_systemd_nor_by_the_list_of_processes(host: Any, settings: dict[str, Any]) -> None:
    password = password_of(settings)
    part = max(re.split(r"[^A-Za-z0-9-]", password), key=len)
    for command in (
        "systemctl show 'panda*'",
        "ps -eo args",
        "journalctl --no-pager --quiet",
        "systemctl cat 'panda*'",
    ):
        told = host.run(command)
        assert told.rc == 0
        assert part not in told.stdout, command


def test_no_service_serves_as_root(units: Any, settings: dict[str, Any]) -> None:
    account = settings["panda_server_user"]
    assert set(units.processes("panda_wsgi.service").values()) == {account}
    assert set(units.processes("panda_daemon.service").values()) == {account}
    httpd = units.processes("panda_httpd.service")
    main = httpd.pop(units.main_process("panda_httpd.service"))
    # It opens the key, and starts the workers and the log writers.
    assert main == "root"
    assert account in httpd.values()


def test_no_service_can_gain_privileges(units: Any) -> None:
    for unit in ("panda_httpd.service", "panda_wsgi.service", "panda_daemon.service"):
        assert units.show(unit, "NoNewPrivileges") == "yes", unit
    for unit in ("panda_wsgi.service", "panda_daemon.service"):
        assert units.show(unit, "CapabilityBoundingSet") == "", unit


@pytest.mark.parametrize(
    "path",
    [
        "/cache/schedconfig/",
        "/cache/",
        "/auth/",
        "/cache/schedconfig/../../../etc/passwd",
        "/cache/schedconfig/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/cache/schedconfig/..%2f..%2f..%2fetc%2fpasswd",
        "/etc/panda/panda_server.cfg",
    ],
)
def test_static_folders_show_neither_lists_nor_what_lies_beside_them(outside: Any, path: str) -> None:
    assert outside.http(path).status in (400, 403, 404)


def test_what_a_user_put_into_the_cache_is_no_page_of_the_node(
    host: Any, outside: Any, settings: dict[str, Any]
) -> None:
    """A browser that ran it would act with its reader's certificate."""
    file = f"{settings['panda_server_cache_dir']}/page.html"
    host.run_expect([0], "echo '<script>1</script>' > %s && chmod 644 %s", file, file)
    answer = outside.https("/cache/page.html")
    host.run_expect([0], "rm %s", file)
    assert answer.status == 200
    assert (answer.headers["Content-Security-Policy"], answer.headers["X-Content-Type-Options"]) == (
        "sandbox",
        "nosniff",
    )


def test_a_link_in_a_static_folder_leads_to_nothing_of_roots(host: Any, outside: Any, settings: dict[str, Any]) -> None:
    link = f"{settings['panda_server_schedconfig_cache_dir']}/test-link.json"
    host.run_expect([0], "runuser -u %s -- ln -s /etc/os-release %s", settings["panda_server_user"], link)
    try:
        assert outside.http("/cache/schedconfig/test-link.json").status == 403
    finally:
        host.run_expect([0], "rm %s", link)


def test_a_link_in_place_of_a_log_makes_root_write_nowhere_else(
    host: Any, outside: Any, settings: dict[str, Any]
) -> None:
    """The account owns the folder of the logs, and httpd's log writers run as root."""
    log = f"{settings['panda_server_logdir']}/panda_server_access_log"
    target = "/root/test-written-through-a-link"
    command = f"mv {log} {log}.test && ln -s {target} {log}"
    host.run_expect([0], "runuser -u %s -- sh -c %s", settings["panda_server_user"], command)
    try:
        outside.http("/server/panda/isAlive?through-a-link")
        written = host.file(target).exists
    finally:
        host.run_expect([0], f"rm -f {shlex.quote(target)} {log}; mv {log}.test {log}")
    assert not written


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_httpd_neither_mirrors_nor_tunnels(outside: Any, method: str) -> None:
    assert outside.http("/server/panda/isAlive", method=method).status >= 400
