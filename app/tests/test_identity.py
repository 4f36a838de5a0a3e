"""Who a client is taken for: certificates, proxies, tokens, and what forgeries get."""

import base64
import contextlib
import hmac
import json
import time
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from falcon import testing
from panda_node import config, identity, oidc, web
from panda_node.db.pool import Database
from panda_node.db.tables import banned_users
from panda_node.identity import Identity
from panda_node.web import access, rate_limit

ALICE = "/DC=ch/DC=cern/OU=Users/CN=alice/CN=706520/CN=Alice Smith"
ASK = "/api/v1/system/get_user_attributes"


@pytest.fixture
def client(oidc_node: Any) -> testing.TestClient:
    return testing.TestClient(web.create_application(config.load(oidc_node.environment)))


def proxy_headers(subject: str, fqans: str = "") -> dict[str, str]:
    """What httpd with mod_gridsite says of a proxy of Alice's."""
    owner = {"X-GRST-Conn-AURI-0": f"dn:{ALICE.replace(' ', '+')}", "X-GRST-VOMS-FQANs": fqans}
    return {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": subject, **owner}


def bearer(token: str, origin: str | None = "wlcg") -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **({"Origin": origin} if origin else {})}


@pytest.mark.parametrize("proxy", ["12345678", "proxy", "123/CN=456", "pilot"])
def test_a_proxy_is_its_owner_whatever_it_calls_itself(client: testing.TestClient, proxy: str) -> None:
    data = client.simulate_get(ASK, headers=proxy_headers(f"{ALICE}/CN={proxy}")).json["data"]
    assert (data["user"], data["dn"], data["production"]) == ("Alice Smith", ALICE, False)


@pytest.mark.parametrize(
    ("header", "fqans"),
    [
        (
            "/atlas/Role=production/Capability=NULL;/atlas/Role=NULL/Capability=NULL",
            ["/atlas/Role=production", "/atlas"],
        ),
        ("/atlas/usatlas/Role=pilot", ["/atlas/usatlas/Role=pilot"]),
        ("/at%3Blas", ["/at;las"]),
        ("", []),
    ],
)
def test_the_attributes_of_a_proxy(client: testing.TestClient, header: str, fqans: list[str]) -> None:
    headers = proxy_headers(f"{ALICE}/CN=1", header)
    assert client.simulate_get(ASK, headers=headers).json["data"]["fqans"] == fqans
    without = {**headers, "X-SSL-Client-Verify": "NONE"}
    assert client.simulate_get(ASK, headers=without).json["message"] == "SSL secure connection is required"


def test_clients_of_the_public_package_find_who_they_are_by_its_names(client: testing.TestClient) -> None:
    fqans = ["/atlas/Role=production", "/atlas/usatlas/Role=production", "/atlas/phys-Higgs/Role=production"]
    headers = proxy_headers(f"{ALICE}/CN=1", ";".join([*fqans, "/cms/heavy/Role=production"]))
    data = client.simulate_get("/api/v1/system/get_attributes", headers=headers).json["data"]
    assert data["environment"]["SSL_CLIENT_S_DN"] == f"{ALICE}/CN=1"
    assert data["environment"]["GRST_CRED_AUTH_TOKEN_2"] == "VOMS /atlas/phys-Higgs/Role=production"
    data = client.simulate_get(ASK, headers=headers).json["data"]
    assert (data["user_dn_raw"], data["user_dn_clean"]) == (f"{ALICE}/CN=1", "Alice Smith")
    assert (data["is_production_user"], data["fqans"][:3]) == (False, fqans)
    assert data["production_working_groups"] == ["phys-Higgs", "gr_phys-Higgs"]
    assert data["primary_working_group"] == "heavy"


@pytest.mark.parametrize(
    ("fqan", "expected"),
    [
        ("/atlas/Role=production/Capability=NULL", True),
        ("/atlas/Role=production", True),
        ("/atlas/usatlas/Role=production", False),
        ("/evil/Role=production", False),
        ("/atlas/Role=productionx", False),
        ("/atlas", False),
    ],
)
def test_the_production_role_comes_from_listed_fqans_only(oidc_node: Any, fqan: str, expected: bool) -> None:
    oidc_node.server["production_fqans"] = "/cms/Role=production, /atlas/Role=production"
    oidc_node.write()
    client = testing.TestClient(web.create_application(config.load(oidc_node.environment)))
    data = client.simulate_get(ASK, headers=proxy_headers(f"{ALICE}/CN=1", fqan)).json["data"]
    assert data["production"] is expected


@pytest.mark.parametrize(
    ("dn", "name"),
    [
        (ALICE, "Alice Smith"),
        ("/CN=alice", "alice"),
        ("Alice Smith/CN=nickname:alice", "Alice Smith"),
        ("/O=x/CN=Sean O'Brien", "Sean OBrien"),
    ],
)
def test_the_name_in_a_dn(dn: str, name: str) -> None:
    assert identity.name_of(dn) == name


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("CN=alice", True),
        ("/CN=alice/CN=706520", True),
        (ALICE, True),
        ("CN=ali", False),
        ("CN=alice2", False),
        ("/", False),
    ],
)
def test_the_production_list_names_whole_parts_of_a_dn(listed: str, expected: bool) -> None:
    assert Identity(ALICE, ALICE, "Alice Smith").has_production_role([listed], ()) is expected


def test_a_certificate_that_httpd_checked(client: testing.TestClient, certificate_headers: Any) -> None:
    answer = client.simulate_get(ASK, headers=certificate_headers(ALICE)).json
    expected = {"user": "Alice Smith", "dn": ALICE, "vo": "", "fqans": [], "production": False}
    assert (answer["success"], answer["message"]) == (True, "")
    assert expected.items() <= answer["data"].items()
    pilot = client.simulate_get(ASK, headers=certificate_headers("/DC=test/CN=pilot")).json
    assert pilot["data"]["production"] is True


@pytest.mark.parametrize(
    "change",
    [
        {"X-SSL-Client-Verify": "NONE"},
        {"X-SSL-Client-Verify": "FAILED:expired"},
        {"X-SSL-Client-Verify": ""},
        {"X-SSL-Client-S-DN": ""},
        {"X-SSL-Client-S-DN": "(null)"},
        {"X-SSL-Client-S-DN": f"{ALICE}/CN=limited proxy"},
    ],
)
def test_anything_less_is_nobody(client: testing.TestClient, certificate_headers: Any, change: dict[str, str]) -> None:
    answer = client.simulate_get(ASK, headers={**certificate_headers(), **change})
    assert (answer.status_code, answer.json["success"]) == (200, False)
    assert answer.json["message"] == "SSL secure connection is required"


def test_a_good_token(client: testing.TestClient, issuer: Any) -> None:
    data = client.simulate_get(ASK, headers=bearer(issuer.token())).json["data"]
    dn = "Alice Smith/CN=nickname:alice"
    expected = {"user": "Alice Smith", "dn": dn, "vo": "wlcg", "fqans": [], "production": False}
    assert expected.items() <= data.items()
    assert (data["user_dn_raw"], data["user_dn_clean"]) == (dn, "Alice Smith")
    for origin in ("wlcg:production", "wlcg.production"):
        data = client.simulate_get(ASK, headers=bearer(issuer.token(), origin)).json["data"]
        assert (data["fqans"], data["production"]) == (["/wlcg/Role=production"], True)


def other_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def signed_with_the_public_key(issuer: Any) -> str:
    """A token by which one who knows what everybody may know tries to pass for the issuer."""
    pem = issuer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    payload = issuer.token().split(".")[1]
    header = base64.urlsafe_b64encode(b'{"alg": "HS256", "kid": "key-1"}').rstrip(b"=").decode()
    digest = hmac.new(pem, f"{header}.{payload}".encode(), "sha256").digest()
    return f"{header}.{payload}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def test_bad_tokens_are_refused_with_the_reason(client: testing.TestClient, issuer: Any) -> None:
    now = int(time.time())
    unsigned = jwt.encode({"iss": issuer.url, "sub": "x", "exp": now + 60}, None, algorithm="none")
    signed = issuer.token().split(".")
    cases = [
        (issuer.token(exp=now - 60), "wlcg", "The token has expired"),
        (issuer.token(exp=None), "wlcg", "Invalid token"),
        (issuer.token(nbf=now + 3600), "wlcg", "Invalid token"),
        (issuer.token(iss="https://evil.example"), "wlcg", "Invalid issuer"),
        (issuer.token(aud="another"), "wlcg", "Invalid audience"),
        (issuer.token(groups=["/atlas"]), "wlcg", "Not a member of the wlcg group"),
        (issuer.token(groups="wlcg"), "wlcg", "Not a member of the wlcg group"),
        (issuer.token(groups=["wlcg"]), "wlcg:production", "Not a member of the wlcg/production group"),
        (issuer.token(key=other_key()), "wlcg", "Invalid token"),
        (issuer.token(kid="nobody's"), "wlcg", "Signed with an unknown key"),
        (issuer.token(key=b"s" * 32, algorithm="HS256"), "wlcg", "Invalid token"),
        (signed_with_the_public_key(issuer), "wlcg", "Invalid token"),
        (issuer.token(aud=[{"a": 1}, ["panda-client"], None]), "wlcg", "Invalid audience"),
        (issuer.token(aud=None, client_id={"panda-client": 1}), "wlcg", "Invalid audience"),
        (unsigned, "wlcg", "Signed with an unknown key"),
        (f"{signed[0]}.{signed[1]}x.{signed[2]}", "wlcg", "Invalid token"),
        ("rubbish", "wlcg", "Invalid token"),
        ("", "wlcg", "Invalid token"),
        (issuer.token(), None, "The Origin header is missing"),
        (issuer.token(), "atlas", "Unknown organisation"),
        (issuer.token(), "../wlcg", "Unknown organisation"),
    ]
    for token, origin, reason in cases:
        answer = client.simulate_get(ASK, headers=bearer(token, origin))
        assert answer.status_code == 403, (reason, answer.text)
        assert answer.text.startswith(f"ERROR : Token authentication failed. {reason}"), answer.text
        assert "Traceback" not in answer.text


def test_a_name_in_a_token_cannot_pose_as_a_dn(client: testing.TestClient, issuer: Any) -> None:
    token = issuer.token(name="Eve/CN=pilot", preferred_username="eve/CN=pilot")
    data = client.simulate_get(ASK, headers=bearer(token)).json["data"]
    assert data["production"] is False
    assert data["dn"] == "Eve Cn Pilot/CN=nickname:eve CN pilot"


def test_keys_are_fetched_once_and_outlive_their_issuer(client: testing.TestClient, issuer: Any) -> None:
    issuer.requests.clear()
    for kid in ("key-1", "made-up-1", "made-up-2", "key-1"):
        client.simulate_get(ASK, headers=bearer(issuer.token(kid=kid)))
    assert issuer.requests.count("/jwks") == 1
    issuer.away = True
    try:
        assert client.simulate_get(ASK, headers=bearer(issuer.token())).json["success"]
    finally:
        issuer.away = False


def test_an_issuer_that_is_away_is_named_and_comes_back(
    oidc_node: Any, issuer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "KEYS_PAUSE", 0.0)
    client = testing.TestClient(web.create_application(config.load(oidc_node.environment)))
    issuer.away = True
    answer = client.simulate_get(ASK, headers=bearer(issuer.token()))
    issuer.away = False
    assert answer.status_code == 403
    assert "The issuer's keys cannot be fetched; try again later" in answer.text
    assert client.simulate_get(ASK, headers=bearer(issuer.token())).json["success"]


def test_an_issuer_that_hangs_delays_one_call_and_no_more(
    oidc_node: Any, issuer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "FETCH_TIMEOUT", 0.5)
    monkeypatch.setattr(oidc, "KEYS_PATIENCE", 0.2)
    monkeypatch.setattr(oidc, "KEYS_LIFETIME", 0.0)

    def delay(tokens: oidc.Tokens, *kids: str) -> float:
        start = time.monotonic()
        for kid in kids:
            with contextlib.suppress(oidc.TokenRefusedError):
                assert tokens.identify(issuer.token(kid), "wlcg").name == "Alice Smith"
        return time.monotonic() - start

    empty, full = (oidc.Tokens(oidc_node.directory / "auth") for _ in range(2))
    with monkeypatch.context() as patch:
        patch.setattr(oidc, "KEYS_PAUSE", 0.0)
        delay(full, "key-1")
    monkeypatch.setattr(issuer, "delay", 0.7)
    for tokens in (empty, full):
        assert 0.15 < delay(tokens, "key-1") < 0.4
        assert delay(tokens, "key-1", "made-up", "another") < 0.1
    time.sleep(0.6)  # the fetch has failed meanwhile
    assert delay(empty, "key-1", "made-up", "another") < 0.1


def test_one_bad_auth_file_is_named_and_harms_nobody_else(oidc_node: Any, issuer: Any) -> None:
    directory = oidc_node.directory / "auth"
    (directory / "atlas_auth_config.json").write_text("{")
    (directory / "cms_auth_config.json").write_text(json.dumps(issuer.configuration("cms", no_verify=True)))
    (directory / "lhcb_auth_config.json").write_text("[]")
    client = testing.TestClient(web.create_application(config.load(oidc_node.environment)))
    assert client.simulate_get(ASK, headers=bearer(issuer.token())).json["success"]
    for vo in ("atlas", "cms", "lhcb"):
        answer = client.simulate_get(ASK, headers=bearer(issuer.token(groups=[vo]), vo))
        assert answer.status_code == 403
        assert f"The server's configuration for {vo} is broken" in answer.text
        assert f"{vo}_auth_config.json: " in oidc_node.log("panda-Entry.log")


def test_organisations_and_roles_in_the_origin() -> None:
    assert oidc.split_origin("atlas") == ("atlas", "")
    assert oidc.split_origin("atlas:pilot") == ("atlas", "pilot")
    assert oidc.split_origin("atlas.pilot") == ("atlas", "pilot")
    assert oidc.split_origin("vo.cta.eu") == ("vo.cta.eu", "")
    assert oidc.split_origin("vo.cta.eu:pilot") == ("vo.cta.eu", "pilot")


def test_a_banned_user(
    client: testing.TestClient, oidc_node: Any, certificate_headers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "BAN_LIST_LIFETIME", 0.0)
    assert oidc_node.run("ban", "add", "alice", "--reason", "too many jobs").returncode == 0
    answer = client.simulate_get(ASK, headers=certificate_headers())
    assert (answer.status_code, answer.text) == (403, "ERROR : Token authentication failed. User alice is banned")
    assert client.simulate_get(ASK, headers=certificate_headers("/DC=test/CN=bob")).json["success"]
    assert client.simulate_get("/api/v1/system/is_alive", headers=certificate_headers()).json["success"]
    assert oidc_node.run("ban", "list").stdout == "alice: too many jobs\n"
    assert oidc_node.run("ban", "remove", "alice").returncode == 0
    assert client.simulate_get(ASK, headers=certificate_headers()).json["success"]
    with Database(oidc_node.settings().database).reading("test") as connection:
        assert connection.execute(banned_users.select()).all() == []


def test_a_ban_may_name_one_of_two_with_the_same_name(
    client: testing.TestClient, oidc_node: Any, certificate_headers: Any
) -> None:
    assert oidc_node.run("ban", "add", "/DC=evil/CN=alice").returncode == 0
    assert client.simulate_get(ASK, headers=certificate_headers("/DC=evil/CN=alice")).status_code == 403
    assert client.simulate_get(ASK, headers=certificate_headers("/DC=test/CN=alice")).json["success"]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_cannot_use_a_browsers_certificate(
    client: testing.TestClient, certificate_headers: Any, site: str
) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": site, **certificate_headers()}
    for path in ("/api/v1/job/submit", "/server/panda/getJob"):
        answer = client.simulate_post(path, body="jobs=%5B%5D&siteName=X", headers=form)
        assert (answer.status_code, "pages of other sites" in answer.text) == (403, True)
    for own in ("none", "same-origin"):
        headers = {**certificate_headers(), "Sec-Fetch-Site": own}
        assert client.simulate_get(ASK, headers=headers).json["success"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The limits' clock stands at its `now`, so that no minute begins while one is tried."""
    clock = SimpleNamespace(now=time.time())
    monkeypatch.setattr(rate_limit, "time", SimpleNamespace(time=lambda: clock.now))
    return clock


@pytest.mark.usefixtures("clock")
def test_a_limit_on_requests_of_one_identity(oidc_node: Any, certificate_headers: Any) -> None:
    oidc_node.server["rate_limit"] = 3
    oidc_node.write()
    client = testing.TestClient(web.create_application(config.load(oidc_node.environment)))
    somebody = certificate_headers(f"/DC=test/CN=busy {time.time()}")
    assert [client.simulate_get(ASK, headers=somebody).status_code for _ in range(3)] == [200, 200, 200]
    refused = client.simulate_get(ASK, headers=somebody)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    assert refused.json == {"success": False, "message": "too many requests, try again in a minute", "data": None}
    old = client.simulate_post("/server/panda/getJob", body="siteName=A", headers=somebody)
    assert (old.status_code, old.json["success"]) == (429, False)
    assert client.simulate_get(ASK, headers=certificate_headers("/DC=test/CN=quiet")).status_code == 200
    assert all(client.simulate_get(ASK, headers=certificate_headers("/CN=pilot")).json["success"] for _ in range(5))


def test_the_limit_is_counted_by_the_minute(clock: SimpleNamespace) -> None:
    limit = rate_limit.RateLimit(2)
    key = f"somebody {time.time()}"
    assert [limit.allows(key) for _ in range(3)] == [True, True, False]
    assert rate_limit.RateLimit(0).allows(key)
    clock.now += 60
    assert limit.allows(key)


@pytest.mark.usefixtures("clock")
def test_a_limit_on_anonymous_calls_from_one_address(oidc_node: Any, certificate_headers: Any) -> None:
    oidc_node.server.update(rate_limit_anonymous=3, rate_limit=100)
    oidc_node.write()
    client = testing.TestClient(web.create_application(config.load(oidc_node.environment)))
    statistics = "/api/v1/statistics/active_job_stats_by_site"

    def codes(address: str, path: str = statistics, **headers: str) -> list[int]:
        forwarded = {"X-Forwarded-For": f"198.51.100.1, {address}", **headers}
        return [client.simulate_get(path, headers=forwarded).status_code for _ in range(8)]

    assert codes("192.0.2.1") == [200] * 3 + [429] * 5
    assert codes("192.0.2.1", "/api/v1/system/is_alive") == [200] * 8
    assert codes("192.0.2.1", "/api/v1/pilot/get_job_status?job_ids=1", **certificate_headers()) == [200] * 8
    assert codes("192.0.2.1", **certificate_headers()) == [200] * 8
    assert codes("192.0.2.2")[0] == 200
    assert codes("2001:db8::1") == [200] * 3 + [429] * 5
    refused = client.simulate_get(statistics, headers={"X-Forwarded-For": "2001:db8::a"})
    assert (refused.status_code, refused.json["message"]) == (429, "too many requests, try again in a minute")
    assert codes("2001:db8:0:1::1")[0] == 200
