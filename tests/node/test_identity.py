"""Who a client is, the application learns from httpd, and from nobody else.

Something that shows what reached it stands in for the application while these tests run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

FORGED = {
    "X-SSL-Client-Verify": "SUCCESS",
    "X-SSL-Client-S-DN": "/CN=forged",
    "X-SSL-Client-I-DN": "/CN=forged authority",
    "X-GRST-Conn-AURI-0": "dn:/CN=forged",
    "X-GRST-VOMS-FQANs": "/forged/Role=production",
    "X-Forwarded-Proto": "forged",
    "X-Forwarded-Host": "forged",
    "X-Forwarded-Server": "forged",
    "X-Forwarded-For": "192.0.2.66",
    "Proxy": "http://forged/",
}

ECHO = """
import http.server, json, os, shutil, socketserver
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(self.headers.items()) if self.path.endswith("?headers") else "alive=yes"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def address_string(self):
        return "httpd"
path = "/run/panda/wsgi.sock"
server = socketserver.UnixStreamServer(path, Echo)
shutil.chown(path, os.environ["OWNER"])
server.serve_forever()
"""

# Asks with the node's own certificate, the one client certificate whose key is at hand.
ASK_WITH_CERTIFICATE = """
import http.client, ssl, sys
context = ssl._create_unverified_context()
context.load_cert_chain(sys.argv[2], sys.argv[3])
connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=context, timeout=10)
connection.request("GET", "/server/panda/isAlive?headers", headers={"X-SSL-Client-S-DN": "/CN=forged"})
print(connection.getresponse().read().decode())
"""


@pytest.fixture(scope="module")
def echo(host: Any, units: Any, settings: dict[str, Any]) -> Iterator[None]:
    """In place of the application something answers that shows what reached it."""
    units.control("stop", "panda_wsgi.socket")
    start = "systemd-run --unit=panda-test-echo --collect --setenv=OWNER=%s %s/bin/python -c %s"
    host.run_expect([0], start, settings["panda_server_user"], settings["panda_server_prefix"], ECHO)
    host.run_expect([0], "for i in $(seq 100); do test -S /run/panda/wsgi.sock && exit; sleep 0.1; done; exit 1")
    yield
    host.run_expect([0], "systemctl stop panda-test-echo; rm -f /run/panda/wsgi.sock")
    units.control("start", "panda_wsgi.socket", "panda_wsgi.service")


def passed_on(ask: Any, headers: dict[str, str]) -> dict[str, str]:
    """Headers, their names in small letters, that reach the application when a client sends these."""
    answer = json.loads(ask("/server/panda/isAlive?headers", headers=headers).body)
    assert len({name.lower() for name, _ in answer}) == len(answer), "a header came twice"
    return {name.lower(): value for name, value in answer}


@pytest.mark.parametrize("protocol", ["http", "https"])
def test_an_identity_that_the_client_made_up_does_not_arrive(echo: None, outside: Any, protocol: str) -> None:
    passed = passed_on(getattr(outside, protocol), FORGED)
    assert passed["x-forwarded-proto"] == protocol
    assert passed.get("x-ssl-client-verify") in (None, "NONE")
    assert "proxy" not in passed
    assert [name for name, value in passed.items() if "forged" in value or "192.0.2.66" in value] == []


@pytest.mark.parametrize("name", ["x-ssl-client-s-dn", "X-SSL-CLIENT-S-DN"])
def test_nor_does_it_in_other_letters(echo: None, outside: Any, name: str) -> None:
    assert passed_on(outside.https, {name: "/CN=forged"}).get("x-ssl-client-s-dn") != "/CN=forged"


def test_the_identity_of_a_true_certificate_arrives(
    echo: None, host: Any, outside: Any, settings: dict[str, Any]
) -> None:
    configuration = host.file("/etc/panda/panda_server-httpd.conf").content_string
    if "SSLVerifyClient optional" not in configuration:
        pytest.skip(f"no authority in {settings['panda_server_ca_certificates']}: no client certificate is asked for")
    answer = host.check_output(
        "%s/bin/python -c %s %s %s %s", settings["panda_server_prefix"], ASK_WITH_CERTIFICATE,
        str(outside.port_ssl), settings["panda_server_hostcert"], settings["panda_server_hostkey"],
    )  # fmt: skip
    passed = {name.lower(): value for name, value in json.loads(answer)}
    assert passed["x-ssl-client-verify"] == "SUCCESS"
    assert passed["x-ssl-client-s-dn"] == f"/CN={outside.name}"
    assert passed["x-ssl-client-i-dn"].startswith("/CN=")
