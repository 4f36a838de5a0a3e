"""Certificates that their authority has revoked: httpd goes by the lists that a site fetches, and by new ones."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.tests.identities import Authority
from tests.node import authorities

TIMER = "panda_revocation.timer"


@pytest.fixture(scope="module")
def authority(host: Any, units: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    """An authority that has revoked nobody."""
    with authorities.known(host, units, tmp_path_factory.mktemp("revocation")) as authority:
        yield authority


@pytest.fixture
def answer(outside: Any) -> Callable[[Path], str]:
    """`answer(certificate)`: what a client with it gets, or why it gets nothing."""

    def ask(certificate: Path) -> str:
        context = outside.verifying()
        context.load_cert_chain(certificate)
        connection = http.client.HTTPConnection(outside.address, outside.port_ssl, timeout=15)
        try:
            connection.sock = outside.tls(context)
            connection.request("GET", "/server/panda/isAlive")
            return connection.getresponse().read().decode()
        except OSError as refusal:
            return str(refusal)
        finally:
            connection.close()

    return ask


def test_the_timer_runs_as_long_as_the_node(units: Any) -> None:
    assert units.states(TIMER, "panda.service") == {TIMER: "active", "panda.service": "active"}
    assert units.show(TIMER, "UnitFileState") == "enabled"


def test_a_certificate_is_refused_from_the_next_list_on(
    host: Any, units: Any, authority: Authority, answer: Any
) -> None:
    alice, bob = authority.issue("alice"), authority.issue("bob")
    assert [answer(alice), answer(bob)] == ["alive=yes", "alive=yes"]
    authorities.bring_list(host, units, authority, alice)
    assert "REVOKED" in answer(alice)
    assert answer(bob) == "alive=yes"
    authorities.bring_list(host, units, authority)
    assert answer(alice) == "alive=yes"


def test_an_authority_without_a_list_is_taken_unless_lists_are_required(
    host: Any, units: Any, authority: Authority, answer: Any, settings: dict[str, Any]
) -> None:
    carol = authority.issue("carol")
    host.run_expect([0], "rm %s", f"{authorities.FOLDER}/{authorities.hash_of(authority)}.r0")
    units.control("reload", "panda_httpd.service")
    assert (answer(carol) == "alive=yes") is (settings["panda_server_revocation"] == "known")
    authorities.bring_list(host, units, authority)
    assert answer(carol) == "alive=yes"
