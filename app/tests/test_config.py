"""What is read, from where, and what every fault is called."""

import json
from pathlib import Path
from typing import Any

import pytest
from panda_node import config, config_check, config_files
from panda_node.errors import ConfigurationError

GOOD: dict[str, object] = {
    "backend": "postgres",
    "dbhost": "db",
    "dbuser": "panda",
    "dbpasswd": "$PANDA_DB_PASSWORD",
    "dbname": "panda",
}
ENVIRONMENT = {"PANDA_DB_PASSWORD": "secret"}


def write(directory: Path, server: dict[str, object], daemon: str = "", common: str = "[logger]\n") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    values = "".join(f"{key} = {value}\n" for key, value in server.items())
    (directory / "panda_server.cfg").write_text(f"[server]\n{values}\n[daemon]\n{daemon}\n")
    (directory / "panda_common.cfg").write_text(common)
    return directory


def faults(directory: Path, environment: dict[str, str] = ENVIRONMENT, overlay: Path | None = None) -> list[str]:
    return config_check.faults([directory], overlay, environment)


def test_the_public_packages_five_directories_are_read_and_a_later_one_wins_key_by_key(tmp_path: Path) -> None:
    environment = {"HOME": "/home/atlpan", "PANDA_HOME": "/data/atlpan"}
    names = [str(directory) for directory in config_files.search_path(environment)]
    assert names == [
        "/etc/panda",
        "/usr/etc/panda",
        "/home/atlpan/etc/panda",
        "/data/atlpan/etc/panda",
        "/data/atlpan/usr/etc/panda",
    ]
    first = write(tmp_path / "first", {**GOOD, "dbhost": "first", "dbport": 1})
    second = write(tmp_path / "second", {"dbhost": "second"})
    settings, found = config.examine([first, second], None, ENVIRONMENT)
    assert not found
    assert (settings.database.host, settings.database.port, settings.database.user) == ("second", 1, "panda")


def test_defaults(tmp_path: Path) -> None:
    directory = write(tmp_path, {"dbhost": "db", "dbuser": "u", "dbpasswd": "p"})
    settings, found = config.examine([directory], None, {})
    assert not found
    assert (settings.database.backend, settings.database.port, settings.database.pool_size) == ("oracle", 1521, 1)
    assert str(settings.log_directory) == "/var/log/panda"
    assert settings.log_level == "DEBUG"
    assert str(settings.schedconfig_directory) == "/var/cache/pandaserver/schedconfig"
    assert settings.daemon.enable is False
    jobs = {job.name: (job.period, job.sync) for job in settings.daemon.jobs}
    assert jobs.pop("cache_schedconfig") == (300, False)
    assert jobs.pop("clean_cache") == (3600, False)
    assert set(jobs) == {"split_tasks", "add_main", "expire_heartbeats", "close_tasks", "delete_finished"}
    assert all(sync for _, sync in jobs.values())
    wsgi = config.wsgi_settings({}, [])
    assert (wsgi.workers, wsgi.threads, wsgi.backlog) == (12, 1, 511)


@pytest.mark.parametrize("reference", ["$NAME", "${NAME}", "${{NAME}}"])
def test_a_whole_value_may_refer_to_the_environment(tmp_path: Path, reference: str) -> None:
    directory = write(tmp_path, {**GOOD, "dbpasswd": reference})
    settings, found = config.examine([directory], None, {"NAME": "0123"})
    assert not found
    assert settings.database.password == "0123"


def test_a_dollar_inside_a_value_stands_for_itself(tmp_path: Path) -> None:
    settings, _ = config.examine([write(tmp_path, {**GOOD, "dbpasswd": "a$NAME"})], None, {"NAME": "x"})
    assert settings.database.password == "a$NAME"


def test_the_password_is_not_shown() -> None:
    settings = config.DatabaseSettings("postgres", "h", 1, "u", "secret", "n", 1, None)
    assert "secret" not in repr(settings) + str(settings)


def test_pool_size_has_two_spellings(tmp_path: Path) -> None:
    old = config.examine([write(tmp_path / "old", {**GOOD, "nDBConForFastCGIWSGI": 3})], None, ENVIRONMENT)[0]
    both = {**GOOD, "nDBConForFastCGIWSGI": 3, "nDBConnection": 4}
    new = config.examine([write(tmp_path / "new", both)], None, ENVIRONMENT)[0]
    assert (old.database.pool_size, new.database.pool_size) == (3, 4)


def test_the_overlay_replaces_keys_in_strings_or_in_types_of_json(tmp_path: Path) -> None:
    directory = write(tmp_path / "etc/panda", GOOD)
    overlay = tmp_path / config_files.OVERLAY_FILE
    overlay.parent.mkdir(parents=True)
    job = {"cache_schedconfig": {"enable": True, "period": 7}}
    overlay.write_text(
        json.dumps({"server": {"dbport": "55", "dbhost": "o"}, "daemon": {"enable": True, "config": job}})
    )
    environment = {**ENVIRONMENT, "PANDA_HOME": str(tmp_path)}
    settings, found = config.examine([directory], config_files.default_overlay(environment), environment)
    assert not found
    assert (settings.database.host, settings.database.port, settings.database.user) == ("o", 55, "panda")
    assert settings.daemon.enable
    assert settings.daemon.jobs[0].period == 7
    assert config_files.default_overlay({}) is None


SERVER_FAULTS: list[tuple[dict[str, object], str]] = [
    ({"backend": "postgresql"}, "[server] backend: is 'postgresql'; must be one of oracle, postgres, mysql, sqlite"),
    ({"dbpasswd": ""}, "[server] dbpasswd: is missing; set it to $PANDA_DB_PASSWORD"),
    ({"dbpasswd": "$NO_SUCH"}, "[server] dbpasswd: refers to $NO_SUCH, which the environment does not have"),
    ({"dbhost": ""}, "[server] dbhost: is missing"),
    ({"dbport": "http"}, "[server] dbport: is 'http'; must be a whole number, from 0 to 65535"),
    ({"dbport": "70000"}, "[server] dbport: is '70000'"),
    ({"nDBConnection": 0}, "[server] nDBConnection: is '0'"),
    ({"nDBConForFastCGIWSGI": "many"}, "[server] nDBConForFastCGIWSGI: is 'many'"),
    ({"usedbtimeout": "yes"}, "[server] usedbtimeout: is 'yes'; must be True or False"),
    ({"dbuser": "50%"}, "[server] dbuser: a single '%' has a meaning of its own here; write '%%'"),
    ({"schedconfig_cache_dir": "cache"}, "[server] schedconfig_cache_dir: is 'cache'; must be an absolute path"),
    ({"token_authType": "magic"}, "[server] token_authType: is 'magic'"),
    ({"token_authType": "oidc"}, "[server] auth_config: (not set) is no directory, but token_authType is oidc"),
    ({"backend": "sqlite", "dbname": "panda.db"}, "[server] dbname: must be the absolute path of the SQLite file"),
]


@pytest.mark.parametrize(("change", "fault"), SERVER_FAULTS, ids=lambda value: str(value)[:40])
def test_one_fault_in_the_server_section_is_one_line_that_names_it(
    tmp_path: Path, change: dict[str, object], fault: str
) -> None:
    found = faults(write(tmp_path, {**GOOD, **change}))
    assert len(found) == 1
    assert fault in found[0]


DAEMON_FAULTS: list[tuple[str, str]] = [
    ("enable = maybe", "[daemon] enable: is 'maybe'"),
    ("n_proc = 0", "[daemon] n_proc: is '0'"),
    ("config = {", "[daemon] config: is not JSON"),
    ("config = []", "[daemon] config: must be one JSON object"),
    ('config = {"a": 5}', "[daemon] config: job a: must be a JSON object"),
    ('config = {"a": {"enable": false, "period": -1}}', "[daemon] config: job a: period is -1"),
    ('config = {"a": {"enable": "true"}}', "[daemon] config: job a: enable is 'true'; must be true or false"),
    ('enable = True\nconfig = {"nope": {}}', "job nope: there is no module panda_node.daemon.jobs.nope"),
    (
        'enable = True\npackage = pandaserver.daemons.scripts\nconfig = {"cache_schedconfig": {}}',
        "there is no module pandaserver.daemons.scripts.cache",
    ),
]


@pytest.mark.parametrize(("daemon", "fault"), DAEMON_FAULTS, ids=lambda value: str(value)[:40])
def test_one_fault_in_the_daemon_section_is_one_line_that_names_it(tmp_path: Path, daemon: str, fault: str) -> None:
    found = faults(write(tmp_path, GOOD, daemon))
    assert len(found) == 1
    assert fault in found[0]


OVERLAY_FAULTS = [("{", "not a JSON document"), ("[]", "must be one JSON object"), ('{"server": 1}', "section server")]


@pytest.mark.parametrize(("content", "fault"), OVERLAY_FAULTS)
def test_a_malformed_overlay_is_named(tmp_path: Path, content: str, fault: str) -> None:
    overlay = tmp_path / "overlay.json"
    overlay.write_text(content)
    (found,) = faults(write(tmp_path, GOOD), overlay=overlay)
    assert found.startswith(f"{overlay}: {fault}")


def test_each_malformed_auth_file_is_named_and_good_ones_are_not(tmp_path: Path) -> None:
    auth = tmp_path / "auth"
    auth.mkdir()
    complete = {"audience": "a", "client_id": "c", "client_secret": None, "vo": "v"}
    complete["oidc_config_url"] = "https://idp.example/.well-known/openid-configuration"
    (auth / "good_auth_config.json").write_text(json.dumps(complete))
    (auth / "broken_auth_config.json").write_text("{")
    (auth / "list_auth_config.json").write_text("[]")
    (auth / "short_auth_config.json").write_text(json.dumps({"vo": "v"}))
    found = faults(write(tmp_path, {**GOOD, "token_authType": "oidc", "auth_config": auth}))
    assert [Path(fault.split(":")[0]).name.split("_")[0] for fault in found] == ["broken", "list", "short"]
    assert "lacks audience, client_id, client_secret, oidc_config_url" in found[2]


@pytest.mark.parametrize(
    ("variable", "text"), [("NUM_WSGI", "0"), ("NUM_WSGI_THREAD", "two"), ("MAX_BACKLOG", "-1"), ("NUM_WSGI", "")]
)
def test_numbers_for_gunicorn_are_checked_too(tmp_path: Path, variable: str, text: str) -> None:
    name = f"PANDA_SERVER_CONF_{variable}"
    (found,) = faults(write(tmp_path, GOOD), {**ENVIRONMENT, name: text})
    assert found.startswith(f"environment: {name}={text}: must be a whole number")


@pytest.mark.parametrize(
    "content", ["no section\n", "[logger\n", "[logger]\na = 1\na = 2\n", "[logger]\nlog_level = LOUD\n"]
)
def test_a_bad_common_file_is_named(tmp_path: Path, content: str) -> None:
    (found,) = faults(write(tmp_path, GOOD, common=content))
    assert str(tmp_path / "panda_common.cfg") in found


def test_missing_files_are_two_faults_not_twenty(tmp_path: Path) -> None:
    found = faults(tmp_path)
    assert len(found) == 2
    assert all(f"not found in {tmp_path}" in fault for fault in found)


def test_all_faults_come_in_one_report(node: Any) -> None:
    node.server = {"backend": "postgres", "dbport": "x", "dbpasswd": "$GONE"}
    node.daemon = {"n_proc": "many", "config": "{"}
    node.write()
    done = node.run("config", "check")
    assert done.returncode == 2
    keys = ("dbport", "dbpasswd", "dbhost", "dbuser", "dbname", "n_proc", "config")
    assert all(f" {key}: " in done.stdout for key in keys), done.stdout
    assert "Traceback" not in done.stdout
    with pytest.raises(ConfigurationError) as error:
        node.settings()
    assert len(error.value.faults) == len(keys)


def test_staged_files_are_checked_alone(node: Any, tmp_path: Path) -> None:
    staged = write(tmp_path / "staged", {**GOOD, "backend": "dbase"})
    done = node.run("config", "check", "--directory", str(staged))
    assert (done.returncode, done.stdout.count("\n")) == (2, 1)
    assert f"{staged}/panda_server.cfg: [server] backend" in done.stdout
    assert node.run("config", "check").stdout == "configuration: OK\n"
    absent = node.run("config", "check", "--directory", str(staged), "--overlay", "/nonexistent/x.json")
    assert "/nonexistent/x.json: no such file" in absent.stdout


def test_an_environment_file_gives_variables_as_systemd_would(node: Any, tmp_path: Path) -> None:
    staged = write(tmp_path / "staged", {**GOOD, "dbpasswd": "$SECRET", "dbuser": "$WHO"})
    file = tmp_path / "secrets.env"
    file.write_text("# comment\nSECRET='a b'\nWHO=panda=x\n\n")
    assert node.run("config", "check", "--directory", str(staged)).returncode == 2
    assert node.run("--environment-file", str(file), "config", "check", "--directory", str(staged)).returncode == 0
    assert config_files.read_environment_file(file) == {"SECRET": "a b", "WHO": "panda=x"}
    gone = node.run("--environment-file", "/nonexistent", "config", "check")
    assert (gone.returncode, gone.stdout.count("\n")) == (1, 1)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "panda_common.cfg").write_bytes(b"[logger]\nlogdir = /\xff\n")
    (found,) = faults(tmp_path)
    assert found.startswith(f"{tmp_path}/panda_common.cfg: cannot be read")
