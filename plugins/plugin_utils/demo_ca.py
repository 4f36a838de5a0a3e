"""A certificate authority for trials, kept in a folder on the control machine. Not for production."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
HOST_DAYS = 365
RENEW_DAYS = 30
"""A host certificate with fewer days left is made anew."""


@dataclass(frozen=True)
class Certificate:
    """A host certificate with its key and its authority, all in PEM form."""

    certificate: str
    key: str
    ca: str


def host_certificate(folder: Path, host: str, names: list[str]) -> Certificate:
    """The host's certificate for these names (host names and addresses, the first is the common name).

    Authority and certificate are made when `folder` has none, and again when the names changed or the
    certificate is about to expire.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock"):
        ca, ca_key = _authority(folder)
        path, key_path = folder / f"{host}.pem", folder / f"{host}.key"
        if not _usable(path, key_path, ca, names):
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = _sign(names, key.public_key(), ca, ca_key)
            _write_key(key_path, key)
            path.write_bytes(certificate.public_bytes(Encoding.PEM))
        return Certificate(path.read_text(), key_path.read_text(), (folder / "ca.pem").read_text())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Several hosts of one play ask at the same time."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    path, key_path = folder / "ca.pem", folder / "ca.key"
    if not (path.is_file() and key_path.is_file()):
        made = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "panda-provision demonstration CA")])
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            data_encipherment=False, key_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        certificate = (
            _builder(name, name, made.public_key(), CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(made, hashes.SHA256())
        )
        _write_key(key_path, made)
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
    key = load_pem_private_key(key_path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{key_path}: is not a key that this package made; remove the folder {folder}")
    return x509.load_pem_x509_certificate(path.read_bytes()), key


def _sign(
    names: list[str], key: ec.EllipticCurvePublicKey, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    return (
        _builder(subject, ca.subject, key, HOST_DAYS)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # a node's clock may be behind
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usable(path: Path, key_path: Path, ca: x509.Certificate, names: list[str]) -> bool:
    if not (path.is_file() and key_path.is_file()):
        return False
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, InvalidSignature):
        return False
    listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    return {str(entry.value) for entry in listed} == set(names) and left > timedelta(days=RENEW_DAYS)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
