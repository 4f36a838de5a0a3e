"""A node whose payload is the public panda-server package."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.node.test_units import Load

JSON = {"Accept": "application/json"}
SCHEMA = "doma_panda.pandadb_version WHERE component = 'PanDA'"

# Asks with the node's own certificate, the one client certificate whose key is at hand.
ASK_WITH_CERTIFICATE = """
import http.client, ssl, sys
context = ssl._create_unverified_context()
context.load_cert_chain(sys.argv[2], sys.argv[3])
connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=context, timeout=30)
forged = {"Accept": "application/json", "X-SSL-Client-S-DN": "/CN=pilot", "SSL-Client-S-DN": "/CN=pilot"}
connection.request("GET", "/api/v1/system/get_user_attributes", headers=forged)
print(connection.getresponse().read().decode())
"""


@pytest.mark.parametrize("protocol", ["http", "https"])
def test_it_is_alive_in_both_spellings(outside: Any, protocol: str) -> None:
    ask = getattr(outside, protocol)
    assert ask("/server/panda/isAlive").body == "alive=yes"
    assert ask("/api/v1/system/is_alive", headers=JSON).json == {"success": True, "message": "", "data": None}


def test_what_answers_is_the_package(service: Any, outside: Any) -> None:
    said = service.run("python", "-c", "from importlib.metadata import version; print(version('panda-server'))")
    assert re.fullmatch(r"\d+\.\d+\.\d+\s*", said.stdout), said.stderr
    # The bundled application has no such group of methods.
    answer = outside.http("/api/v1/harvester/no_such_method", headers=JSON)
    assert (answer.status, answer.body) == (403, "ERROR : method no_such_method is forbidden")
    refused = outside.http("/api/v1/harvester/heartbeat", headers=JSON).json
    assert refused == {"success": False, "message": "SSL secure connection is required", "data": None}


def test_no_compiler_and_no_mod_wsgi_is_on_the_node(host: Any, service: Any) -> None:
    for program in ("gcc", "cc", "apxs", "make"):
        assert host.run("command -v %s", program).rc != 0, program
    assert "No module named" in service.run("python", "-c", "import mod_wsgi").stderr


def test_the_folder_of_tokens_and_proxies_is_the_accounts_alone(host: Any, settings: dict[str, Any]) -> None:
    folder = host.file("/tmp/proxies")
    assert (folder.user, folder.group, folder.mode) == (
        settings["panda_server_user"], settings["panda_server_group"], 0o700,
    )  # fmt: skip


def test_a_certificate_makes_the_client_known(host: Any, outside: Any, settings: dict[str, Any]) -> None:
    answer = host.check_output(
        "%s/bin/python -c %s %s %s %s", settings["panda_server_prefix"], ASK_WITH_CERTIFICATE,
        str(outside.port_ssl), settings["panda_server_hostcert"], settings["panda_server_hostkey"],
    )  # fmt: skip
    known = json.loads(answer)["data"]
    assert known["user_dn_raw"] == f"/CN={outside.name}"
    assert known["is_production_user"] is False


@pytest.mark.parametrize("protocol", ["http", "https"])
def test_an_identity_that_the_client_made_up_counts_for_nothing(outside: Any, protocol: str) -> None:
    forged = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": "/CN=pilot", "SSL-Client-S-DN": "/CN=pilot"}
    answer = getattr(outside, protocol)("/api/v1/system/get_user_attributes", headers={**JSON, **forged})
    assert answer.json["message"] == "SSL secure connection is required"


def test_another_path_does_not_reach_another_method(outside: Any) -> None:
    answer = outside.http("/api/v1/foo/bar", headers={**JSON, "SCRIPT-NAME": "/api/v1/system/is_alive"})
    assert answer.status == 403


def test_requests_are_counted_by_method(host: Any, outside: Any) -> None:
    outside.http("/api/v1/system/is_alive", headers=JSON)
    outside.http("/api/v1/system/made-up-by-a-client", headers=JSON)
    metrics = host.check_output("curl --silent http://127.0.0.1:%s/node/metrics", str(outside.port))
    assert 'route="/api/v1/system/is_alive",status="200"' in metrics
    assert "made-up-by-a-client" not in metrics


def test_the_status_page_names_the_schema(outside: Any) -> None:
    page = outside.http("/node/").body
    assert "good for 0.1.1" in page


def test_the_daemon_runs_the_jobs_of_its_table(host: Any, units: Any, eventually: Callable[..., None]) -> None:
    finished = "grep --count 'dummy_test finish' /var/log/panda/panda-daemons.log"
    eventually(lambda: int(host.run(finished).stdout or 0) > 0, True, within=30)
    assert units.show("panda_daemon.service", "StatusText").startswith("Workers: ")


def test_a_stop_of_the_daemon_leaves_nothing_running_and_is_no_failure(host: Any, units: Any) -> None:
    with units.stopped("panda_daemon.service"):
        assert units.states("panda_daemon.service") == {"panda_daemon.service": "inactive"}
        assert units.processes("panda_daemon.service") == {}


def test_its_logs_can_be_renamed_under_it(host: Any, outside: Any, settings: dict[str, Any]) -> None:
    log = f"{settings['panda_server_logdir']}/panda-api_system.log"
    outside.http("/api/v1/system/is_alive", headers=JSON)
    host.run_expect([0], "mv %s %s.renamed", log, log)
    before = host.check_output("stat --format=%%s %s.renamed", log)
    try:
        for _ in range(20):  # so that every worker writes
            outside.http("/api/v1/system/is_alive", headers=JSON)
        assert host.file(log).size > 0
        assert host.check_output("stat --format=%%s %s.renamed", log) == before
    finally:
        host.run("rm --force %s.renamed", log)


def test_nobody_else_may_write_its_logs(host: Any, settings: dict[str, Any]) -> None:
    found = host.check_output("find %s -perm /022 ! -type l", settings["panda_server_logdir"])
    assert found == ""


def test_the_parent_stops_and_starts_every_child(units: Any, outside: Any, eventually: Callable[..., None]) -> None:
    with units.stopped():
        # The package's database processes and the daemon's workers have gone too.
        assert units.left_running() == {}
    eventually(units.states, units.all("active"), within=60)
    eventually(outside.alive, True, within=60)


def test_no_request_fails_while_the_application_is_started_anew(units: Any, outside: Any) -> None:
    with Load(outside.address, outside.port) as load:
        units.control("restart", "panda_wsgi.service")
    assert load.failed == []
    assert len(load.answers) > 0


@pytest.fixture
def too_old(service: Any, units: Any) -> Iterator[None]:
    """The PanDA database is older than the package needs; put right afterwards."""
    ((minor,),) = service.query(f"SELECT minor FROM {SCHEMA}")
    service.query(f"UPDATE {SCHEMA.replace(' WHERE', ' SET minor = 0 WHERE')}")
    yield
    service.query(f"UPDATE {SCHEMA.replace(' WHERE', f' SET minor = {minor} WHERE')}")
    units.control("start", units.parent)


def test_on_a_schema_that_is_too_old_no_child_starts_and_status_says_why(
    host: Any, units: Any, outside: Any, eventually: Callable[..., None], too_old: None
) -> None:
    # The package's own checker exits 0 here.
    eventually(lambda: outside.status("/node/ready"), 503, within=10)
    units.control("stop", units.parent)
    assert host.run("systemctl start panda.service").rc != 0
    assert units.states(units.parent) == {units.parent: "failed"}
    assert units.states() == units.all("inactive")
    told = host.run("systemctl status --no-pager --full panda.service").stdout
    assert re.search(
        r"Status: \"DB schema check: installed is 0\.0\.\d+, this release needs 0\.1\.1; bring the", told
    ), told


def test_what_is_wrong_with_a_configuration_is_said_before_it_is_used(host: Any, settings: dict[str, Any]) -> None:
    prepare = "mkdir -p /tmp/tried && cp /etc/panda/*.cfg /tmp/tried && sed -i '{}' /tmp/tried/panda_server.cfg"
    surroundings = "set -a; . /etc/sysconfig/panda_server_env; PANDA_DB_PASSWORD=present"
    check = f"{settings['panda_server_prefix']}/bin/panda-node config check --directory /tmp/tried"
    tries = {
        "/^entryVerbose/d": "does not answer is_alive",
        "s/adder_dummy_plugin:/no_such_plugin:/": "[server] adder_plugins: local:pandaserver.dataservice.no_such",
        "s/^backend = .*/backend = sqlite/": "runs on postgres or oracle",
    }
    for edit, fault in tries.items():
        tried = host.run(f"{surroundings}; {prepare.format(edit)} && {check}; code=$?; rm -r /tmp/tried; exit $code")
        assert tried.rc == 2, tried.stdout
        assert fault in tried.stderr
