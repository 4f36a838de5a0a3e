"""Judge a host certificate before httpd has to."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key


def faults(place: str, pem: str, names: list[str], now: float) -> list[str]:
    """What is wrong with a certificate for a service known by these names.

    `place` says where it was found, for the report; `now` is the node's clock, seconds since 1970.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        return [f"{place}: is not a certificate in PEM form: {error}"]
    fault = date_fault(certificate, now)
    found = [f"{place}: {fault}"] if fault else []
    listed = subject_names(certificate)
    found += [
        f"{place}: is not valid for {name}, only for {', '.join(listed) or 'no name at all'}: "
        "ask for one with this name among its subject alternative names"
        for name in dict.fromkeys(names)
        if not any(matches(name, pattern) for pattern in listed)
    ]
    return found


def date_fault(certificate: x509.Certificate, now: float) -> str:
    """Why a certificate does not count now, with the remedy; an empty string where it does."""
    moment = datetime.fromtimestamp(now, UTC)
    if certificate.not_valid_after_utc < moment:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: put the renewed one there"
    if certificate.not_valid_before_utc > moment:
        return (
            f"is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC, and the node's "
            f"clock says {moment:%Y-%m-%d %H:%M}: check the clock"
        )
    return ""


def chain_faults(place: str, pem: str, certificate_pem: str, now: float) -> list[str]:
    """What is wrong with the authority that signed a certificate.

    Those above it do not count: a root that another one had signed too may have that signature expire, and clients
    go by the root itself.
    """
    try:
        chain = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return [f"{place}: is not a certificate in PEM form"]
    if not readable(certificate_pem):
        return []
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    signers = [authority for authority in chain if authority != certificate and signed_by(certificate, authority)]
    wrong = [(authority, fault) for authority in signers if (fault := date_fault(authority, now))]
    # Of an authority that was renewed both may be there, and clients take the one that counts.
    if not wrong or len(wrong) < len(signers):
        return []
    authority, fault = wrong[0]
    return [f"{place}: holds {authority.subject.rfc4514_string()}, which {fault}"]


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether an authority signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def readable(pem: str) -> bool:
    """Whether a text holds a certificate in PEM form."""
    try:
        x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return False
    return True


def subject_names(certificate: x509.Certificate) -> list[str]:
    """The names and addresses that a certificate is valid for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(entry.value) for entry in extension if isinstance(entry, (x509.DNSName, x509.IPAddress))]


def matches(name: str, pattern: str) -> bool:
    """Whether a certificate's name, possibly with a wildcard as its first label, covers a name."""
    name, pattern = name.lower().rstrip("."), pattern.lower()
    return name == pattern or (pattern.startswith("*.") and name.partition(".")[2] == pattern[2:])


def key_matches(certificate_pem: str, key_pem: str) -> bool:
    """Whether a private key without passphrase belongs to a certificate; ValueError where it is not a key."""
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    key = load_pem_private_key(key_pem.encode(), password=None)
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certificate.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)
