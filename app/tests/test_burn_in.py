"""`panda-node burn-in` brings a job through a node that serves, and says what a node does not do."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.tests.test_gunicorn import Service


@pytest.fixture
def service(node: Any, eventually: Any) -> Iterator[Service]:
    node.server["production_dns"] = "CN=pilot"
    node.write()
    node.install_schema()
    service = Service(node)
    service.start()
    eventually(lambda: service.get("/node/live")[0] == 200, 20)
    yield service
    service.close()


def burn_in(node: Any, service: Service, *more: str) -> Any:
    return node.run("burn-in", "--socket", str(service.path), *more)


def test_a_job_is_submitted_taken_and_reported(node: Any, service: Service) -> None:
    done = burn_in(node, service)
    assert done.returncode == 0, done.stdout
    assert "acquired by a pilot" in done.stdout
    assert "reported finished" in done.stdout


def test_the_daemon_finishes_the_job(node: Any, service: Service, eventually: Any) -> None:
    daemon = node.popen("panda_node.cli", "daemon")
    done = burn_in(node, service, "--wait", "30")
    assert daemon.poll() is None
    assert done.returncode == 0, done.stdout
    assert "ended finished by the daemon" in done.stdout


def test_a_fleet_without_a_daemon_is_named(node: Any, service: Service) -> None:
    done = burn_in(node, service, "--wait", "1")
    assert done.returncode == 1
    assert "is holding after 1 s: no daemon of the fleet finishes jobs" in done.stdout


def test_without_a_pilot_who_may_report_the_job_is_taken_back(node: Any, eventually: Any) -> None:
    node.install_schema()
    service = Service(node)
    service.start()
    try:
        eventually(lambda: service.get("/node/live")[0] == 200, 20)
        done = burn_in(node, service)
    finally:
        service.close()
    assert done.returncode == 0, done.stdout
    assert "taken back: production_dns names nobody" in done.stdout


def test_an_application_that_does_not_serve_is_named(node: Any) -> None:
    done = node.run("burn-in", "--socket", str(node.directory / "nobody.sock"))
    assert done.returncode == 1
    assert "is panda_wsgi.service running?" in done.stdout
