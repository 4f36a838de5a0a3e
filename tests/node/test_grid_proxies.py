"""Grid proxies, and the VOMS attributes in them, as httpd takes them with mod_gridsite.

Authority, attributes and proxies are made by released VOMS tools, with an attribute server that signs what it is told.
"""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.tests.identities import Authority
from tests.node import authorities

VOMSDIR = "/etc/grid-security/vomsdir"
VO, SERVER = "wlcg", "voms.example"
PRODUCTION = f"/{VO}/Role=production"
ASK = "/api/v1/system/get_user_attributes"


@pytest.fixture(scope="module")
def authority(
    host: Any, units: Any, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Authority]:
    """An authority that the node knows, and which attribute server speaks for the organisation."""
    if not settings["panda_server_gridsite"]:
        pytest.skip("httpd takes no grid proxies (panda_server_gridsite)")
    speaks = {f"{VOMSDIR}/{VO}/{SERVER}.lsc": f"/CN={SERVER}\n/CN=Test CA\n"}
    with authorities.known(host, units, tmp_path_factory.mktemp("grid"), speaks) as authority:
        yield authority


@pytest.fixture
def proxy(authority: Authority, tmp_path: Path) -> Callable[..., Path]:
    """Makes a proxy of Alice's with an attribute; `server` signs the attribute, further words are voms-proxy-fake's."""

    def split(name: str) -> tuple[Path, Path]:
        """Certificate and key in files of their own, as the tool wants them."""
        text = authority.issue(name).read_text()
        certificate, mark, key = text.partition("-----BEGIN PRIVATE KEY-----")
        paths = tmp_path / f"{name}.crt", tmp_path / f"{name}.key"
        for path, content in zip(paths, (certificate, mark + key), strict=True):
            path.touch(mode=0o600)
            path.write_text(content)
        return paths

    def make(fqan: str = f"/{VO}", server: str = SERVER, *further: str) -> Path:
        certificate, key = split("alice")
        host_certificate, host_key = split(server)
        made = tmp_path / "proxy"
        command = [
            "voms-proxy-fake", "-rfc", "-quiet", "-hours", "1", "-cert", certificate, "-key", key,
            "-certdir", tmp_path, "-hostcert", host_certificate, "-hostkey", host_key, "-voms", VO,
            "-uri", f"{SERVER}:15000", "-fqan", fqan, "-out", made, *further,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert made.exists(), done.stdout + done.stderr
        return made

    return make


def ask(outside: Any, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> tuple[Any, ssl.SSLSocket]:
    """What the node says of a client that also claims to be somebody else, and the connection it was said on."""
    connection = http.client.HTTPConnection(outside.address, outside.port_ssl, timeout=15)
    connection.connect()
    connection.sock = tls = context.wrap_socket(connection.sock, server_hostname=outside.name, session=session)
    connection.request("GET", ASK, headers={"X-GRST-Conn-AURI-0": "dn:/CN=eve", "X-GRST-VOMS-FQANs": PRODUCTION})
    return json.loads(connection.getresponse().read()), tls


def showing(outside: Any, proxy: Path) -> ssl.SSLContext:
    """The context of a client with this proxy."""
    context: ssl.SSLContext = outside.verifying()
    context.load_cert_chain(proxy)
    return context


def attributes(outside: Any, proxy: Path) -> dict[str, Any]:
    """What the node says of a client with this proxy."""
    answer, _ = ask(outside, showing(outside, proxy))
    assert answer["success"], answer
    return {name: answer["data"][name] for name in ("dn", "fqans", "production")}


def test_a_proxy_is_its_owner_with_the_attributes_that_the_organisation_gave(outside: Any, proxy: Any) -> None:
    assert attributes(outside, proxy()) == {"dn": "/CN=alice", "fqans": [f"/{VO}"], "production": False}


def test_a_listed_attribute_gives_the_production_role(outside: Any, proxy: Any, settings: dict[str, Any]) -> None:
    assert settings["panda_server_production_fqans"] == [PRODUCTION]
    assert attributes(outside, proxy(PRODUCTION)) == {"dn": "/CN=alice", "fqans": [PRODUCTION], "production": True}


def test_an_attribute_that_somebody_else_signed_is_not_one(outside: Any, proxy: Any) -> None:
    forged = proxy(PRODUCTION, "evil.example")
    assert attributes(outside, forged) == {"dn": "/CN=alice", "fqans": [], "production": False}


def test_a_proxy_may_not_call_itself_by_a_listed_name(outside: Any, proxy: Any, settings: dict[str, Any]) -> None:
    assert "CN=pilot" in settings["panda_server_production_dns"]
    posing = proxy(f"/{VO}", SERVER, "-newsubject", "/CN=alice/CN=pilot")
    assert attributes(outside, posing) == {"dn": "/CN=alice", "fqans": [f"/{VO}"], "production": False}


def test_the_proxy_of_somebody_whose_certificate_is_revoked_is_refused(
    host: Any, units: Any, outside: Any, authority: Authority, proxy: Any
) -> None:
    known = proxy()
    authorities.bring_list(host, units, authority, authority.directory / "alice.pem")
    with pytest.raises(ssl.SSLError, match="REVOKED"):
        attributes(outside, known)
    authorities.bring_list(host, units, authority)
    assert attributes(outside, known)["dn"] == "/CN=alice"


def test_nobody_is_somebody_by_saying_so(outside: Any) -> None:
    answer, _ = ask(outside, outside.verifying())
    assert (answer["success"], answer["message"]) == (False, "SSL secure connection is required")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def test_the_role_is_there_when_the_client_comes_back(outside: Any, proxy: Any, version: ssl.TLSVersion) -> None:
    context = showing(outside, proxy(PRODUCTION))
    context.maximum_version = version
    first, tls = ask(outside, context)
    again, _ = ask(outside, context, tls.session)
    assert first["data"] == again["data"]
    assert again["data"]["production"] is True
