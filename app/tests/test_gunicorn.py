"""gunicorn with our settings, on a socket that systemd would hold."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CONFIGURATION = "python:panda_node.gunicorn_conf"
COMMAND = "gunicorn --config {} panda_node.wsgi:application"
# As it may be on a busy machine.
SLOW_FORK = """
import time
from panda_node import gunicorn_conf
from panda_node.gunicorn_conf import *
def post_fork(server, worker):
    time.sleep(2)
    gunicorn_conf.post_fork(server, worker)
"""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


class Service:
    """gunicorn as a unit with a socket unit: the socket stays open while the service comes and goes."""

    def __init__(self, node: Any, workers: int = 2, threads: int = 1) -> None:
        self.path = node.directory / "wsgi.sock"
        self._node = node
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(511)
        prometheus = node.directory / "prometheus"
        prometheus.mkdir()
        numbers = {"NUM_WSGI": workers, "NUM_WSGI_THREAD": threads}
        node.environment.update({f"PANDA_SERVER_CONF_{name}": str(number) for name, number in numbers.items()})
        node.environment["PROMETHEUS_MULTIPROC_DIR"] = str(prometheus)
        self.process: subprocess.Popen[bytes]

    def start(self, configuration: str = CONFIGURATION) -> None:
        command = COMMAND.format(configuration)
        descriptor = self._listener.fileno()
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f"export LISTEN_PID=$$ LISTEN_FDS=1; exec {sys.executable} -m {command}"],
            env=self._node.environment,
            cwd=self._node.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[3],
            preexec_fn=lambda: os.dup2(descriptor, 3),
        )

    def get(self, path: str) -> tuple[int, str]:
        connection = UnixConnection(self.path)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, output.decode()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.communicate(timeout=40)
        self._listener.close()


class Load:
    """Clients that ask without a pause."""

    def __init__(self, service: Service, clients: int = 4) -> None:
        self._service = service
        self._end = threading.Event()
        self.answered = 0
        self.failures: list[str] = []
        self.longest = 0.0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._end.is_set():
            start = time.monotonic()
            try:
                answer = self._service.get("/server/panda/isAlive")
                failure = "" if answer == (200, "alive=yes") else str(answer)
            except Exception as error:
                failure = repr(error)
            with self._lock:
                self.answered += not failure
                self.longest = max(self.longest, time.monotonic() - start)
                if failure:
                    self.failures.append(failure)


@pytest.fixture
def service(node: Any) -> Iterator[Service]:
    node.install_schema()
    service = Service(node)
    service.start()
    yield service
    service.close()


def workers(service: Service) -> set[str]:
    pid = service.process.pid
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_it_serves_on_the_given_socket_and_tells_systemd(node: Any, systemd: Any, eventually: Any) -> None:
    node.install_schema()
    node.environment["NOTIFY_SOCKET"] = str(systemd.path)
    service = Service(node)
    service.start()
    try:
        assert service.get("/api/v1/system/is_alive") == (200, '{"success": true, "message": "", "data": null}')
        assert service.get("/node/ready")[0] == 200
        eventually(lambda: any("Total requests: 2;" in message for message in systemd.messages), 15)
        service.stop()
    finally:
        service.close()
    assert systemd.messages[0].startswith("READY=1")
    assert "STATUS=Total requests: 2; Idle/Busy workers 2/0;Requests/sec: " in "\n".join(systemd.messages)
    assert systemd.messages[-1] == "STOPPING=1"
    assert service.path.exists(), "the socket is systemd's"


@pytest.fixture(params=[1, 4], ids=["one thread", "four threads"])
def either_service(node: Any, request: pytest.FixtureRequest) -> Iterator[Service]:
    node.install_schema()
    service = Service(node, threads=request.param)
    service.start()
    yield service
    service.close()


def test_reloads_under_load_fail_no_request_and_read_the_configuration_again(
    node: Any, either_service: Service, eventually: Any
) -> None:
    service = either_service
    assert service.get("/node/live")[0] == 200
    node.server["nDBConnection"] = 3
    node.write()
    with Load(service) as load:
        for _ in range(3):
            before = workers(service)
            service.process.send_signal(signal.SIGHUP)
            eventually(lambda before=before: len(workers(service)) == 2 and not before & workers(service), 20)
    assert load.failures == []
    assert load.answered > 100
    assert "panda_node_db_connections_limit 6.0" in service.get("/node/metrics")[1]


def test_a_stop_reaches_a_worker_that_is_being_forked(node: Any, tmp_path: Path, eventually: Any) -> None:
    node.install_schema()
    configuration = tmp_path / "slow.py"
    configuration.write_text(SLOW_FORK)
    service = Service(node)
    service.start(str(configuration))
    try:
        eventually(lambda: len(workers(service)) == 2, 20)
        began = time.monotonic()
        service.stop()
        assert time.monotonic() - began < 15  # gunicorn kills what is left after 30 s
    finally:
        service.close()


def test_restarts_under_load_fail_no_request(either_service: Service, eventually: Any) -> None:
    service = either_service
    with Load(service) as load:
        for _ in range(2):
            before = load.answered
            eventually(lambda before=before: load.answered > before + 50, 20)
            service.stop()
            service.start()
    assert load.failures == []
    assert load.answered > 100


def test_a_killed_worker_is_replaced_and_its_requests_stay_counted(service: Service, eventually: Any) -> None:
    for _ in range(10):
        service.get("/node/live")
    before = workers(service)
    for worker in before:
        os.kill(int(worker), signal.SIGKILL)
    eventually(lambda: len(workers(service) - before) == 2, 10)
    text = service.get("/node/metrics")[1]
    assert 'panda_node_requests_total{method="GET",route="/node/live",status="200"} 10.0' in text
    # A gauge counts living workers only.
    eventually(lambda: "panda_node_db_connections_limit 2.0" in service.get("/node/metrics")[1])


def test_each_answered_request_has_its_line_though_the_logs_are_renamed(node: Any, service: Service) -> None:
    assert service.get("/server/panda/isAlive")[0] == 200
    log = node.directory / "log"
    with Load(service) as load:
        for number in range(10):
            time.sleep(0.1)
            for file in (log / "panda-Entry.log", log / "panda_wsgi_error_log"):
                if file.exists():
                    file.rename(f"{file}.{number}")
    lines = [line for file in log.glob("panda-Entry.log*") for line in file.read_text().splitlines()]
    identities = {line.split()[4] for line in lines}
    assert load.failures == []
    assert len(lines) == len(identities) == load.answered + 1
    service.stop()
    assert "Shutting down: Master" in node.log("panda_wsgi_error_log"), "the error log was reopened too"


def test_a_slow_answer_is_finished_before_the_worker_stops(postgres_node: Any, postgres: Any) -> None:
    postgres_node.install_schema()
    service = Service(postgres_node, workers=1)
    service.start()
    try:
        assert service.get("/node/ready")[0] == 200
        time.sleep(1.2)
        with postgres.hanging():
            answers: list[tuple[int, str]] = []
            client = threading.Thread(target=lambda: answers.append(service.get("/node/ready")))
            client.start()
            time.sleep(0.5)
            service.stop()
            client.join()
        assert answers[0][0] == 503
        assert "database does not answer within 2 s" in answers[0][1]
    finally:
        service.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_worker_does_not_wait_for_a_peer_that_is_slow_to_read(node: Any, threads: int) -> None:
    service = Service(node, workers=1, threads=threads)
    service.start()
    slow = [UnixConnection(service.path) for _ in range(threads)]
    try:
        assert service.get("/node/live")[0] == 200
        for connection in slow:
            connection.request("GET", "/node/live")
        start = time.monotonic()
        assert service.get("/node/live")[0] == 200
        took = time.monotonic() - start
        for connection in slow:
            assert connection.getresponse().status == 200
            connection.close()
        service.stop()
    finally:
        service.close()
    assert took < 1, "gunicorn's own way would have kept the worker for 2 s"


def test_a_client_cannot_tell_gunicorn_another_path(service: Service) -> None:
    connection = UnixConnection(service.path)
    connection.putrequest("GET", "/node/live")
    for name in ("SCRIPT_NAME", "PATH_INFO", "Script-Name"):
        connection.putheader(name, "/node")
    connection.endheaders()
    assert connection.getresponse().status in (200, 400)
    assert service.get("/node/live")[0] == 200


@pytest.mark.parametrize("variable", ["PANDA_SERVER_CONF_NUM_WSGI", "PANDA_SERVER_CONF_NUM_WSGI_THREAD"])
def test_a_bad_configuration_is_reported_before_systemd_is_told_ready(node: Any, systemd: Any, variable: str) -> None:
    node.environment.update({"NOTIFY_SOCKET": str(systemd.path), variable: "many"})
    node.server["backend"] = "dbase"
    node.write()
    process = node.popen(*COMMAND.format(CONFIGURATION).split())
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "[server] backend: is 'dbase'" in output
    assert f"environment: {variable}=many" in output
    assert "Traceback" not in output
    assert systemd.messages == []


def test_a_missing_log_directory_is_reported_by_its_key(node: Any) -> None:
    (node.directory / "log").rmdir()
    process = node.popen(*COMMAND.format(CONFIGURATION).split())
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "panda_common.cfg: [logger] logdir: cannot write there" in output
    assert "Traceback" not in output
