"""Certificates: which ones preflight refuses, and those of the demonstration's own authority."""

from __future__ import annotations

import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils import demo_ca
from ansible_collections.panda.provision.plugins.plugin_utils.preflight import certificates
from cryptography import x509

from .conftest import MakePair, Pair

SERVICE = "pandaserver.cern.ch"


def faults(pem: str, *names: str) -> list[str]:
    return certificates.faults("hostcert.pem", pem, list(names or [SERVICE]), time.time())


@pytest.mark.parametrize("listed", [SERVICE, "*.cern.ch", "PandaServer.CERN.ch"])
def test_a_current_certificate_with_the_name_has_no_fault(make_pair: MakePair, listed: str) -> None:
    assert faults(make_pair("other.cern.ch", listed).certificate) == []


def test_an_expired_certificate_is_refused_with_its_date(make_pair: MakePair) -> None:
    (fault,) = faults(make_pair(SERVICE, valid_from=-30, valid_to=-2).certificate)
    assert fault.startswith(f"hostcert.pem: expired on {datetime.now(UTC) - timedelta(days=2):%Y-%m-%d} ")


def test_a_certificate_of_the_future_points_at_the_clock(make_pair: MakePair) -> None:
    (fault,) = faults(make_pair(SERVICE, valid_from=2).certificate)
    assert "is valid only from" in fault
    assert "check the clock" in fault


@pytest.mark.parametrize("listed", ["other.cern.ch", "cern.ch", "*.ch", "*.pandaserver.cern.ch", "*andaserver.cern.ch"])
def test_a_certificate_for_another_name_is_refused(make_pair: MakePair, listed: str) -> None:
    (fault,) = faults(make_pair(listed).certificate)
    assert f"is not valid for {SERVICE}, only for {listed}" in fault


def test_a_wildcard_covers_one_label_only(make_pair: MakePair) -> None:
    assert len(faults(make_pair("*.cern.ch").certificate, "a.b.cern.ch")) == 1


def test_a_certificate_without_alternative_names_is_refused(make_pair: MakePair) -> None:
    (fault,) = faults(make_pair().certificate)
    assert "only for no name at all" in fault


def test_several_faults_are_told_together(make_pair: MakePair) -> None:
    assert len(faults(make_pair("other.cern.ch", valid_from=-30, valid_to=-2).certificate)) == 2


@pytest.mark.parametrize(
    "text", ["", "not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_what_is_not_a_certificate_is_refused(text: str) -> None:
    (fault,) = faults(text)
    assert "is not a certificate in PEM form" in fault
    assert not certificates.readable(text)


def test_the_first_certificate_of_a_bundle_counts(make_pair: MakePair) -> None:
    bundle = make_pair(SERVICE).certificate + make_pair("ca.cern.ch").certificate
    assert faults(bundle) == []


def test_a_key_belongs_to_its_own_certificate_only(make_pair: MakePair) -> None:
    one, other = make_pair(SERVICE), make_pair(SERVICE)
    assert certificates.key_matches(one.certificate, one.key)
    assert not certificates.key_matches(one.certificate, other.key)
    with pytest.raises(TypeError):
        certificates.key_matches(one.certificate, one.protected_key())


def chain_faults(certificate: Pair, *chain: Pair) -> list[str]:
    text = "".join(pair.certificate for pair in chain)
    return certificates.chain_faults("chain.pem", text, certificate.certificate, time.time())


def test_a_current_chain_has_no_fault(make_pair: MakePair) -> None:
    root = make_pair()
    middle = make_pair(signer=root)
    assert chain_faults(make_pair(SERVICE, signer=middle), root, middle) == []


@pytest.mark.parametrize(("valid_from", "valid_to", "what"), [(-30, -2, "expired on"), (2, 30, "is valid only from")])
def test_an_authority_in_the_chain_that_does_not_count_now_is_refused(
    make_pair: MakePair, valid_from: int, valid_to: int, what: str
) -> None:
    root = make_pair()
    middle = make_pair(signer=root, valid_from=valid_from, valid_to=valid_to)
    (fault,) = chain_faults(make_pair(SERVICE, signer=middle), middle, root)
    assert fault.startswith(f"chain.pem: holds CN=pandaserver.cern.ch, which {what} ")


def test_an_expired_signature_of_another_root_above_is_no_fault(make_pair: MakePair) -> None:
    crossed = make_pair(signer=make_pair(), valid_from=-30, valid_to=-2)
    middle = make_pair(signer=crossed)
    assert chain_faults(make_pair(SERVICE, signer=middle), middle, crossed) == []


def test_an_expired_authority_beside_its_renewed_certificate_or_beside_the_chain_is_no_fault(
    make_pair: MakePair,
) -> None:
    root = make_pair()
    old, new = make_pair(own=root, valid_from=-30, valid_to=-2), make_pair(own=root)
    stranger = make_pair(valid_from=-30, valid_to=-2)
    assert chain_faults(make_pair(SERVICE, signer=root), stranger, old, new) == []


def test_a_chain_that_is_none_is_refused_and_one_of_another_authority_is_left_to_the_report(
    make_pair: MakePair,
) -> None:
    assert certificates.chain_faults("chain.pem", "none", make_pair(SERVICE).certificate, time.time()) == [
        "chain.pem: is not a certificate in PEM form"
    ]
    assert chain_faults(make_pair(SERVICE), make_pair()) == []


NAMES = [SERVICE, "atlas-pandaserver-09", "172.30.25.9"]


def test_a_demonstration_certificate_satisfies_preflight_and_openssl(tmp_path: Path) -> None:
    made = demo_ca.host_certificate(tmp_path, "node", NAMES)
    assert faults(made.certificate, *NAMES) == []
    assert certificates.key_matches(made.certificate, made.key)
    verify = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.pem"]
    for name in (SERVICE, "atlas-pandaserver-09"):
        subprocess.run([*verify, "-verify_hostname", name, "node.pem"], cwd=tmp_path, check=True, capture_output=True)


def test_a_demonstration_certificate_is_kept_while_it_fits(tmp_path: Path) -> None:
    first = demo_ca.host_certificate(tmp_path, "node", NAMES)
    assert demo_ca.host_certificate(tmp_path, "node", NAMES) == first


def test_other_names_need_another_certificate_of_the_same_authority(tmp_path: Path) -> None:
    first = demo_ca.host_certificate(tmp_path, "node", NAMES)
    second = demo_ca.host_certificate(tmp_path, "node", ["other.cern.ch"])
    assert second.ca == first.ca
    assert faults(second.certificate, "other.cern.ch") == []


def test_a_certificate_about_to_expire_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_ca, "HOST_DAYS", demo_ca.RENEW_DAYS - 1)
    first = demo_ca.host_certificate(tmp_path, "node", NAMES)
    monkeypatch.undo()
    second = demo_ca.host_certificate(tmp_path, "node", NAMES)
    assert second.certificate != first.certificate
    left = x509.load_pem_x509_certificate(second.certificate.encode()).not_valid_after_utc - datetime.now(UTC)
    assert left > timedelta(days=demo_ca.RENEW_DAYS)


def test_another_authority_means_another_certificate(tmp_path: Path) -> None:
    first = demo_ca.host_certificate(tmp_path, "node", NAMES)
    (tmp_path / "ca.pem").unlink()
    second = demo_ca.host_certificate(tmp_path, "node", NAMES)
    assert second.ca != first.ca
    x509.load_pem_x509_certificate(second.certificate.encode()).verify_directly_issued_by(
        x509.load_pem_x509_certificate(second.ca.encode())
    )


def test_only_their_owner_can_read_the_keys(tmp_path: Path) -> None:
    demo_ca.host_certificate(tmp_path, "node", NAMES)
    for name in ("ca.key", "node.key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
