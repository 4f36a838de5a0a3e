"""Who a client is: from the certificate that httpd checked, or from a token that oidc.py checked."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_PROXY = re.compile(r"/CN=(?:proxy|limited proxy|[0-9]+)")
LIMITED = "/CN=limited proxy"


@dataclass(frozen=True)
class Identity:
    """A client that has proved who it is."""

    dn: str
    """Distinguished name in the legacy format (/DC=ch/CN=alice); of a proxy, its owner's."""
    key: str
    """What ownership is compared by: the DN, or issuer and subject of a token, whose names the client may choose."""
    name: str
    """What people and pbook call the client."""
    vo: str = ""
    fqans: tuple[str, ...] = ()
    limited: bool = False
    """A limited proxy: the public package lets it do nothing that needs an identity."""

    def has_production_role(self, production_dns: Iterable[str]) -> bool:
        """By role, or because a listed DN, or listed parts of one (CN=alice), are the client's."""
        if any(re.fullmatch(r"/[^/]+(/[^/]+)*/Role=production(/.*)?", fqan) for fqan in self.fqans):
            return True
        # Whole components: CN=alice is not CN=alice2.
        return any(f"/{entry.strip('/')}/" in f"/{self.dn.strip('/')}/" for entry in production_dns if entry.strip("/"))


def from_certificate(headers: Mapping[str, str | None]) -> Identity | None:
    """Reads what httpd's TLS virtual host says about the client's certificate; it removes them otherwise."""
    subject = headers.get("X-SSL-CLIENT-S-DN") or ""
    if headers.get("X-SSL-CLIENT-VERIFY") != "SUCCESS" or not subject.startswith("/"):
        return None
    owner = owner_of(subject, headers.get("X-SSL-CLIENT-I-DN") or "")
    return Identity(owner, owner, name_of(owner), limited=LIMITED in subject)


def owner_of(subject: str, issuer: str) -> str:
    """The DN of the person that a proxy certificate stands for.

    A proxy is signed by the certificate it is made from, so its subject is its issuer's and one more CN. Without that
    a number at the end of a DN is somebody's name.
    """
    if not issuer or not subject.startswith(f"{issuer}/CN="):
        return subject
    last = subject[len(issuer) :]
    if not _PROXY.fullmatch(last):
        return subject
    subject = issuer
    # The proxies that this one was made from.
    while match := re.search(rf"{_PROXY.pattern}$", subject):
        subject = subject[: match.start()]
    return subject


def name_of(dn: str) -> str:
    """The person's name in a DN: the last CN that is neither a number nor a nickname."""
    names = [part[3:] for part in dn.split("/") if part.startswith("CN=")]
    names = [name for name in names if not name.isdigit() and not name.startswith("nickname:")]
    return " ".join((names[-1] if names else dn.split("/CN=")[0]).replace("'", "").split())[:256] or "unknown"
