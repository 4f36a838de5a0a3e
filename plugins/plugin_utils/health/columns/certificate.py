"""Tell what is wrong with the host certificate of a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils.health.columns.services import active
from ansible_collections.panda.provision.plugins.plugin_utils.health.model import Fault, Limits, site
from ansible_collections.panda.provision.plugins.plugin_utils.health.questions import HTTPD_CONF
from ansible_collections.panda.provision.plugins.plugin_utils.preflight import certificates
from cryptography import x509

CERTIFICATES_TAG = "panda_server_certificates"


def certificate(wanted: Mapping[str, Any], seen: Mapping[str, Any], limits: Limits) -> tuple[str, list[Fault]]:
    """The host certificate is current, made for the service, has its key and its chain, and is the one served."""
    name, path, chain = wanted["name"], wanted["panda_server_hostcert"], wanted["panda_server_chain"]
    renew = f"put a renewed one there, then: {site(name, '-t', CERTIFICATES_TAG)}"
    pem = seen["texts"].get(path)
    if pem is None:
        return "none", [Fault("cert", path, "is missing", renew)]
    if not certificates.readable(pem):
        return "unknown", [Fault("cert", path, "is not a certificate in PEM form", renew)]
    loaded = x509.load_pem_x509_certificate(pem.encode())
    days = (loaded.not_valid_after_utc - datetime.fromtimestamp(seen["begun"], UTC)).days
    faults = []
    for fault in certificates.faults(path, pem, [wanted["panda_server_servername"]], seen["begun"]):
        what, _, remedy = fault.removeprefix(f"{path}: ").rpartition(": ")
        faults.append(Fault("cert", path, what, remedy))
    if 0 <= days < limits.certificate_days:
        what = f"expires in {days} days, on {loaded.not_valid_after_utc:%Y-%m-%d}"
        faults.append(Fault("cert", path, what, f"have it renewed; {renew}"))
    if seen["key_fault"]:
        what = f"does not fit {path}: {seen['key_fault']}"
        faults.append(Fault("cert", wanted["panda_server_hostkey"], what, renew))
    faults += chain_faults(chain, seen["texts"].get(chain), pem, seen["begun"], renew)
    port = wanted["panda_server_port_ssl"]
    if seen["served"]["pem"]:
        served = x509.load_pem_x509_certificate(seen["served"]["pem"].encode())
        if served != loaded:
            what = (
                f"serves another certificate (until {served.not_valid_after_utc:%Y-%m-%d}) than {path} "
                f"holds (until {loaded.not_valid_after_utc:%Y-%m-%d})"
            )
            faults.append(Fault("cert", f"port {port}", what, f"on {name}: systemctl reload panda_httpd"))
    elif active(seen, "panda_httpd.service"):
        what = f"does not serve TLS: {seen['served']['error']}"
        faults.append(Fault("cert", f"port {port}", what, f"on {name}: journalctl -u panda_httpd -n 50"))
    files = (path, chain, wanted["panda_server_hostkey"], CERTIFICATES_TAG)
    return f"{days} d", [*(replace(fault, explains=files) for fault in faults), *identity_faults(wanted, seen)]


def identity_faults(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> list[Fault]:
    """Somebody can authenticate: httpd asks for client certificates, or tokens are read."""
    tokens = wanted["panda_server_token_auth_type"] != "x509"  # noqa: S105  a kind of authentication
    asked = "SSLVerifyClient none" not in seen["texts"].get(HTTPD_CONF, "")
    if asked or tokens or wanted["panda_server_cache_only"]:
        return []
    what = "holds no authority that httpd was told of, and tokens are off: nobody can authenticate"
    return [
        Fault(
            "cert", wanted["panda_server_ca_certificates"], what,
            f"install the authorities there, then: {site(wanted['name'])}; or set panda_server_token_auth_type to oidc",
            (HTTPD_CONF,),
        )
    ]  # fmt: skip


def chain_faults(path: str, pem: str | None, certificate_pem: str, now: float, renew: str) -> list[Fault]:
    """The chain holds the authority that signed the certificate, and those above it count."""
    if pem is None:
        return [Fault("cert", path, "is missing", renew)]
    if found := certificates.chain_faults(path, pem, certificate_pem, now):
        return [Fault("cert", path, fault.removeprefix(f"{path}: ").partition(" UTC")[0], renew) for fault in found]
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    chain = x509.load_pem_x509_certificates(pem.encode())
    if any(certificates.signed_by(certificate, authority) for authority in chain):
        return []
    what = f"does not hold the authority that signed the host certificate ({certificate.issuer.rfc4514_string()})"
    return [Fault("cert", path, what, renew)]


def certificate_summary(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    """The certificate on disk, and whether it is the one served."""
    pem = seen["texts"].get(wanted["panda_server_hostcert"], "")
    if not certificates.readable(pem):
        return {}
    loaded = x509.load_pem_x509_certificate(pem.encode())
    served = seen["served"]["pem"]
    return {
        "subject": loaded.subject.rfc4514_string(),
        "issuer": loaded.issuer.rfc4514_string(),
        "names": certificates.subject_names(loaded),
        "expires": loaded.not_valid_after_utc.isoformat(),
        "served_is_on_disk": x509.load_pem_x509_certificate(served.encode()) == loaded if served else None,
    }
