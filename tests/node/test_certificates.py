"""The host certificate and the protocols that carry it."""

from __future__ import annotations

import re
import ssl
import warnings
from typing import Any

import pytest


def anyone() -> ssl.SSLContext:
    """A context that judges no certificate and offers even what is broken: what is refused, the node refuses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def test_the_certificate_on_disk_is_the_one_that_is_served(host: Any, outside: Any, settings: dict[str, Any]) -> None:
    text = host.file(settings["panda_server_hostcert"]).content_string
    first = re.search(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", text, re.DOTALL).group()
    with outside.tls(anyone()) as connection:
        assert connection.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(first)


def test_the_certificate_is_signed_by_the_nodes_authority_for_the_services_name(outside: Any) -> None:
    with outside.tls(outside.verifying()) as connection:
        names = [name for _, name in connection.getpeercert()["subjectAltName"]]
    assert outside.name in names


def test_a_client_with_other_authorities_does_not_trust_the_node(outside: Any) -> None:
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        outside.tls(context)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_current_protocols_are_spoken(outside: Any, version: str) -> None:
    context = anyone()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    with outside.tls(context) as connection:
        assert connection.version() == version.replace("_", ".")


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_outdated_protocols_are_refused(outside: Any, version: str) -> None:
    context = anyone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    # The alert comes from the node: this side did offer the protocol.
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        outside.tls(context)
