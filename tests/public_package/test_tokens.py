"""Tokens of OpenID Connect: who they make a client, and what a forged one gets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

ASK = "/api/v1/system/get_user_attributes"
ISSUER_FILE, KEYS_FILE = "/var/cric/issuer.json", "/var/cric/keys.json"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """What the issuer signs with."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def token(host: Any, settings: dict[str, Any], key: rsa.RSAPrivateKey) -> Iterator[Callable[..., str]]:
    """Makes tokens of Alice's, good ones unless something is replaced. Their issuer's documents are there meanwhile."""
    (organisation,) = settings["panda_server_auth_organisations"].values()
    issuer = organisation["oidc_config_url"].rpartition("/")[0]
    public = {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "key-1", "use": "sig"}
    documents = {ISSUER_FILE: {"issuer": issuer, "jwks_uri": f"{issuer}/keys.json"}, KEYS_FILE: {"keys": [public]}}
    for path, document in documents.items():
        host.run_expect([0], "echo %s > %s", json.dumps(document), path)

    def make(signed_with: rsa.RSAPrivateKey = key, **claims: object) -> str:
        usual = {
            "iss": issuer, "sub": "1f3a", "aud": organisation["client_id"], "exp": int(time.time()) + 3600,
            "name": "alice smith", "preferred_username": "alice", "groups": ["/test"],
        }  # fmt: skip
        return jwt.encode({**usual, **claims}, signed_with, algorithm="RS256", headers={"kid": "key-1"})

    yield make
    host.run_expect([0], "rm %s %s", *documents)


def bearer(token: str) -> dict[str, str]:
    return {"Accept": "application/json", "Authorization": f"Bearer {token}", "Origin": "test"}


@pytest.mark.parametrize("protocol", ["http", "https"])
def test_a_token_makes_the_client_known(outside: Any, token: Callable[..., str], protocol: str) -> None:
    answer = getattr(outside, protocol)(ASK, headers=bearer(token())).json
    assert answer["success"], answer
    assert answer["data"]["user_dn_raw"] == "Alice Smith/CN=nickname:alice"
    assert answer["data"]["is_production_user"] is False


def test_a_forged_token_makes_nobody_known(outside: Any, token: Callable[..., str]) -> None:
    forged = {
        "another key": token(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        "another issuer": token(iss="https://issuer.example"),
        "expired": token(exp=int(time.time()) - 60),
        "unsigned": jwt.encode(jwt.decode(token(), options={"verify_signature": False}), "", algorithm="none"),
        "another organisation": token(groups=["/other"]),
    }
    for what, made in forged.items():
        answer = outside.http(ASK, headers=bearer(made))
        assert answer.status == 403, f"{what}: {answer.body}"
        assert answer.body.startswith("ERROR : Token authentication failed."), what


def test_an_organisations_file_is_served_to_clients_and_holds_no_secret(outside: Any) -> None:
    served = outside.https("/auth/test_auth_config.json").json
    assert served["client_secret"] is None
    assert served["client_id"] == "panda-client"
