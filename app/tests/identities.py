"""Who clients are: certificates of a test authority, and tokens of a test issuer."""

import http.server
import ipaddress
import json
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from app.tests.nodes import Node


class Authority:
    """A certificate authority of the tests' own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        self.certificate = self._sign(self.name, self.key.public_key(), authority=True)
        self.file = directory / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *parts: str) -> Path:
        """A file with certificate and key for /CN=<part>/CN=<part>..., or for a host."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, part) for part in parts or (name,)])
        certificate = self._sign(subject, key.public_key(), authority=False)
        file = self.directory / f"{name}.pem"
        pkcs8 = serialization.PrivateFormat.PKCS8
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption())
        )
        return file

    def revocations(self, *certificates: Path) -> str:
        """The list of the certificates that the authority has revoked, as PEM."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(now - timedelta(hours=1))
            .next_update(now + timedelta(hours=5))
        )
        for file in certificates:
            serial = x509.load_pem_x509_certificate(file.read_bytes()).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(revoked)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def _sign(self, subject: x509.Name, public_key: rsa.RSAPublicKey, authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        local = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=5))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if not authority:
            builder = builder.add_extension(x509.SubjectAlternativeName(local), critical=False)
        return builder.sign(self.key, hashes.SHA256())


class Issuer:
    """An OpenID Connect issuer over https: a discovery document and a key set."""

    def __init__(self, authority: Authority) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.requests: list[str] = []
        self.away = False
        self.delay = 0.0
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests.append(self.path)
                time.sleep(issuer.delay)
                documents = {"/.well-known/openid-configuration": issuer.discovery, "/jwks": issuer.jwks}
                self.send_response(503 if issuer.away or self.path not in documents else 200)
                self.end_headers()
                if self.path in documents:
                    self.wfile.write(json.dumps(documents[self.path]()).encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.issue("issuer"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()

    def discovery(self) -> dict[str, object]:
        return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}

    def jwks(self) -> dict[str, object]:
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": "key-1", "use": "sig", "alg": "RS256"}]}

    def token(self, kid: str = "key-1", key: Any = None, algorithm: str = "RS256", **claims: object) -> str:
        """A good token of Alice's; a claim that is None is left out."""
        now = int(time.time())
        usual = {
            "iss": self.url,
            "sub": "alice-sub",
            "aud": "panda-client",
            "iat": now,
            "exp": now + 3600,
            "name": "Alice smith",
            "preferred_username": "alice",
            "groups": ["/wlcg", "/wlcg/production"],
            **claims,
        }
        payload = {name: value for name, value in usual.items() if value is not None}
        return jwt.encode(payload, key or self.key, algorithm=algorithm, headers={"kid": kid})

    def configuration(self, vo: str = "wlcg", **more: object) -> dict[str, object]:
        """What an auth_config file holds."""
        url = f"{self.url}/.well-known/openid-configuration"
        ids = {"audience": "https://panda.example", "client_id": "panda-client", "client_secret": None}
        return {**ids, "oidc_config_url": url, "vo": vo, **more}


def accept_tokens(node: Node, issuer: Issuer, authority: Authority) -> Node:
    """Gives a node its auth_config and a production DN, and installs its schema."""
    directory = node.directory / "auth"
    directory.mkdir()
    (directory / "wlcg_auth_config.json").write_text(json.dumps(issuer.configuration()))
    settings = {"token_authType": "oidc", "auth_config": directory, "production_dns": "CN=pilot"}
    node.server.update(settings, cache_dir=node.directory / "pandacache", pserverhost="localhost")
    node.environment["SSL_CERT_FILE"] = str(authority.file)
    node.write()
    node.install_schema()
    return node


def certificate_headers(dn: str = "/DC=test/CN=alice", issuer_dn: str = "/DC=test/CN=Test CA") -> dict[str, str]:
    """What httpd's TLS virtual host says of a client with a good certificate."""
    return {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": dn, "X-SSL-Client-I-DN": issuer_dn}
