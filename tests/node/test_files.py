"""Accounts, files, owners and modes."""

from __future__ import annotations

import configparser
from typing import Any

import pytest

ETC = "/etc/panda"
# Everything here is root's; the services only read it.
READ_ONLY = [
    f"{ETC}/panda_common.cfg",
    f"{ETC}/panda_server.cfg",
    f"{ETC}/panda_server-httpd.conf",
    f"{ETC}/node_state",
    "/etc/sysconfig/panda_server_env",
    "/etc/systemd/system/panda.service",
    "/etc/systemd/system/panda_httpd.service",
    "/etc/systemd/system/panda_wsgi.socket",
    "/etc/systemd/system/panda_wsgi.service",
    "/etc/systemd/system/panda_daemon.service",
]


def cfg(host: Any, name: str) -> configparser.ConfigParser:
    """A configuration file of the node, as the application reads it."""
    parser = configparser.ConfigParser()
    parser.optionxform = str
    parser.read_string(host.file(f"{ETC}/{name}").content_string)
    return parser


def environment(host: Any) -> dict[str, str]:
    """The environment file of the services."""
    lines = host.file("/etc/sysconfig/panda_server_env").content_string.splitlines()
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value.strip('"') for name, value in pairs}


def test_the_account_can_run_services_and_nothing_else(host: Any, settings: dict[str, Any]) -> None:
    account = host.user(settings["panda_server_user"])
    assert account.group == settings["panda_server_group"]
    assert account.home == settings["panda_server_home"]
    assert account.shell.endswith("/nologin")
    assert account.uid != 0
    assert account.password[0] in "!*"


@pytest.mark.parametrize("path", READ_ONLY)
def test_what_the_services_read_belongs_to_root(host: Any, path: str) -> None:
    file = host.file(path)
    assert (file.user, file.group, file.mode) == ("root", "root", 0o644)


def test_the_services_can_change_nothing_of_what_they_run(host: Any, settings: dict[str, Any]) -> None:
    """A service that was broken into cannot leave anything behind in what it, or root, runs."""
    places = [ETC, "/etc/sysconfig", "/etc/systemd/system", "/etc/grid-security", "/etc/httpd", "/etc/apache2"]
    places += [settings["panda_server_prefix"] + "/", settings["panda_server_releases"]]
    there = [place for place in places if host.file(place).exists]
    assert settings["panda_server_releases"] in there
    # That their own folder is found, and nothing else, shows that find has looked; some folders it may not enter.
    own = settings["panda_server_logdir"]
    look = "runuser -u %s -- find " + " ".join([*there, own]) + " ! -type l -writable -print -prune"
    assert host.run(look, settings["panda_server_user"]).stdout.splitlines() == [own]


@pytest.mark.parametrize("variable", ["panda_server_home", "panda_server_logdir"])
def test_the_services_own_the_folders_they_write_to(host: Any, settings: dict[str, Any], variable: str) -> None:
    folder = host.file(settings[variable])
    assert folder.is_directory
    assert (folder.user, folder.group) == (settings["panda_server_user"], settings["panda_server_group"])


def test_nothing_of_roots_lies_about_in_the_home(host: Any, settings: dict[str, Any]) -> None:
    found = host.check_output("find %s -mindepth 1 -maxdepth 1 -user root", settings["panda_server_home"])
    assert found.split() == [f"{settings['panda_server_home']}/etc"]


def test_every_log_is_written(host: Any, settings: dict[str, Any]) -> None:
    folder = settings["panda_server_logdir"]
    for name in (
        "panda_server_access_log",
        "panda_server_error_log",
        "panda_wsgi_error_log",
        "panda-Entry.log",
        "panda-daemons.log",
        "panda-DBProxy.log",
        "panda-DBProxyPool.log",
    ):
        assert host.file(f"{folder}/{name}").is_file, name


def test_the_host_key_is_readable_by_root_only(host: Any, settings: dict[str, Any]) -> None:
    key = host.file(settings["panda_server_hostkey"])
    assert key.user == "root"
    assert key.mode & 0o377 == 0, oct(key.mode)


def test_the_socket_of_the_application_is_for_httpd_only(host: Any, settings: dict[str, Any]) -> None:
    file = host.file("/run/panda/wsgi.sock")
    assert file.is_socket
    assert (file.user, file.group, file.mode) == (settings["panda_server_user"], settings["panda_server_group"], 0o600)


def test_no_compiler_came_with_the_node(host: Any) -> None:
    assert [name for name in ("gcc", "cc", "g++", "c++", "clang") if host.exists(name)] == []


def test_the_environment_holds_what_was_set(host: Any, settings: dict[str, Any]) -> None:
    found = environment(host)
    expected = {
        "VIRTUAL_ENV": settings["panda_server_prefix"],
        "HOME": settings["panda_server_home"],
        "PANDA_HOME": settings["panda_server_home"],
        "TZ": "UTC",
    } | {
        f"PANDA_SERVER_CONF_{name.upper()}": str(settings[f"panda_server_{name}"])
        for name in (
            "servername", "port", "port_ssl", "min_workers", "max_workers", "num_wsgi", "num_wsgi_thread",
            "max_backlog", "max_connections", "threads_per_child",
        )
    }  # fmt: skip
    expected |= {name: str(value) for name, value in settings["panda_server_environment"].items()}
    assert {name: found.get(name) for name in expected} == expected


def test_the_configuration_holds_what_was_set(host: Any, settings: dict[str, Any]) -> None:
    server = cfg(host, "panda_server.cfg")["server"]
    expected = {
        "logdir": settings["panda_server_logdir"],
        "backend": settings["panda_server_backend"],
        "dbhost": settings["panda_server_dbhost"],
        "dbuser": settings["panda_server_dbuser"],
        "dbname": settings["panda_server_dbname"],
        "nDBConnection": str(settings["panda_server_ndbconnection"]),
        "pserverport": str(settings["panda_server_port_ssl"]),
        "pserverporthttp": str(settings["panda_server_port"]),
    } | {name: str(value) for name, value in settings["panda_server_config"].items()}
    assert {name: server.get(name) for name in expected} == expected
    logger = cfg(host, "panda_common.cfg")["logger"]
    assert logger["logdir"] == settings["panda_server_logdir"]
    assert logger["log_level"] == settings["panda_server_log_level"]


def test_the_application_finds_no_fault_in_its_configuration(service: Any) -> None:
    checked = service.run("panda-node", "config", "check")
    assert (checked.rc, checked.stdout.strip()) == (0, "configuration: OK"), checked.stderr


def test_there_are_as_many_workers_as_were_set(units: Any, settings: dict[str, Any]) -> None:
    assert len(units.processes("panda_wsgi.service")) == settings["panda_server_num_wsgi"] + 1
