"""Who a client is: from the certificate that httpd checked, or from a token that oidc.py checked."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

HEADERS = (
    "X-SSL-CLIENT-VERIFY",
    "X-SSL-CLIENT-S-DN",
    "X-GRST-CONN-AURI-0",
    "X-GRST-VOMS-FQANS",
)
"""What httpd says of a client's certificate. The last two come from mod_gridsite, without which it takes no proxy."""
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
    production: bool = False
    """By the role that its token proves. Of a proxy's FQANs only those count that are listed: any organisation whose
    attributes httpd takes may have such a role."""

    def has_production_role(self, production_dns: Iterable[str], production_fqans: Collection[str]) -> bool:
        """By role, or because a listed DN, or listed parts of one (CN=alice), are the client's."""
        if self.production or any(fqan in production_fqans for fqan in self.fqans):
            return True
        # Whole components: CN=alice is not CN=alice2.
        return any(f"/{entry.strip('/')}/" in f"/{self.dn.strip('/')}/" for entry in production_dns if entry.strip("/"))


def from_certificate(headers: Mapping[str, str | None]) -> Identity | None:
    """Reads what httpd's TLS virtual host says in HEADERS; httpd removes them from what a client sends."""
    subject = headers.get("X-SSL-CLIENT-S-DN") or ""
    if headers.get("X-SSL-CLIENT-VERIFY") != "SUCCESS" or not subject.startswith("/"):
        return None
    owner = owner_of(subject, headers.get("X-GRST-CONN-AURI-0") or "")
    fqans = fqans_of(headers.get("X-GRST-VOMS-FQANS") or "")
    return Identity(owner, owner, name_of(owner), fqans=fqans, limited=LIMITED in subject)


def owner_of(subject: str, owner_uri: str) -> str:
    """The DN of the person that a certificate stands for: of a grid proxy, the one that mod_gridsite found at the end
    of its chain. A proxy's own name proves nothing: whoever makes it may put any CN behind the owner's."""
    return unquote_plus(owner_uri.removeprefix("dn:")) or subject


def fqans_of(header: str) -> tuple[str, ...]:
    """The VOMS attributes that mod_gridsite checked, without the parts that say nothing."""
    fqans = [
        unquote_plus(fqan).removesuffix("/Capability=NULL").removesuffix("/Role=NULL") for fqan in header.split(";")
    ]
    return tuple(fqan for fqan in fqans if fqan)


def name_of(dn: str) -> str:
    """The person's name in a DN: the last CN that is neither a number nor a nickname."""
    names = [part[3:] for part in dn.split("/") if part.startswith("CN=")]
    names = [name for name in names if not name.isdigit() and not name.startswith("nickname:")]
    return " ".join((names[-1] if names else dn.split("/CN=")[0]).replace("'", "").split())[:256] or "unknown"
