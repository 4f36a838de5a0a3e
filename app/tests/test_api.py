"""How /api/v1 takes a call: arguments, bodies, types and limits. The methods themselves have tests of their own."""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from falcon import testing
from panda_node import config, web
from panda_node.web import arguments
from panda_node.web.methods import METHODS, Call, Method

PATH = "/api/v1/system/echo"


def echo(
    call: Call,
    number: int,
    text: str = "",
    flag: bool = False,
    share: float | None = None,
    ids: list[int] | None = None,
    content: dict[str, Any] | None = None,
) -> dict[str, object]:
    return {"number": number, "text": text, "flag": flag, "share": share, "ids": ids, "content": content}


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(METHODS, ("system", "echo"), Method("POST", echo))
    return


@pytest.fixture
def client(node: Any) -> testing.TestClient:
    node.install_schema()
    return testing.TestClient(web.create_application(config.load(node.environment)))


def send(client: testing.TestClient, body: bytes | str, **headers: str) -> Any:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.simulate_post(PATH, body=body, headers={"Content-Type": "application/json", **given})


def test_a_query_is_read_as_the_methods_types(client: testing.TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, ("system", "echo"), Method("GET", echo))
    answer = client.simulate_get(f"{PATH}?number=7&text=%C3%A9&flag=true&share=0.5&ids=1&ids=2").json
    expected = {"number": 7, "text": "é", "flag": True, "share": 0.5, "ids": [1, 2], "content": None}
    assert answer == {"success": True, "message": "", "data": expected}
    for query, message in (
        ("number=x", "Type error: 'number' could not be casted to type int."),
        ("number=1&ids=x", "Type error: 'ids' could not be casted to type list."),
        ("number=1&flag=maybe", "Type error: 'flag' could not be casted to type bool."),
        ("number=1&number=2", "Argument error: 'number' is given 2 times"),
        ("", "Argument error: missing a required argument: 'number'"),
        ("number=1&nope=1", "Argument error: got an unexpected keyword argument 'nope'"),
        (f"number={2**63}", "Argument error: 'number' is a number out of range"),
        ("number=1&text=%00", "Argument error: 'text' contains a NUL character"),
    ):
        answer = client.simulate_get(f"{PATH}?{query}")
        assert (answer.status_code, answer.json) == (200, {"success": False, "message": message, "data": None})


@pytest.mark.usefixtures("post")
def test_json_is_held_to_the_methods_types(client: testing.TestClient) -> None:
    body = {"number": 7, "share": 1, "ids": [], "content": {"a": [None]}}
    assert send(client, json.dumps(body)).json["data"]["content"] == {"a": [None]}
    for body, message in (
        ({}, "Argument error: missing a required argument: 'number'"),
        ({"number": "1"}, "Type error: 'number' must be of type int, got str."),
        ({"number": True}, "Type error: 'number' must be of type int, got bool."),
        ({"number": None}, "Type error: 'number' must be of type int, got NoneType."),
        ({"number": 1, "text": None}, "Type error: 'text' must be of type str, got NoneType."),
        ({"number": 1, "ids": [1, "2"]}, "Type error: All elements in 'ids' must be int."),
        ({"number": 1, "content": []}, "Type error: 'content' must be of type dict, got list."),
        ({"number": 1, "x": 1}, "Argument error: got an unexpected keyword argument 'x'"),
        ({"number": 10**30}, "Argument error: 'number' is a number out of range"),
        ({"number": 1, "text": "\ud800"}, "Argument error: 'text' contains half a character"),
        ({"number": 1, "content": {"a\0": 1}}, "Argument error: 'content' contains a NUL character"),
    ):
        answer = send(client, json.dumps(body))
        assert (answer.status_code, answer.json) == (200, {"success": False, "message": message, "data": None})


@pytest.mark.usefixtures("post")
def test_a_form_has_text_only_and_types_are_strict(client: testing.TestClient) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client.simulate_post(PATH, body="number=1", headers=form).json
    assert answer["message"] == "Type error: 'number' must be of type int, got str."


@pytest.mark.usefixtures("post")
@pytest.mark.parametrize("body", ["{", "[1]", "5", '"x"', '{"number": NaN}', "[" * 100_000, b"\xff\xfe"])
def test_what_is_no_json_object_is_forbidden_with_a_text(client: testing.TestClient, body: bytes | str) -> None:
    answer = send(client, body)
    assert answer.status_code == 403
    assert answer.text.startswith("ERROR : received invalid JSON : ")


@pytest.mark.usefixtures("post")
@pytest.mark.parametrize("depth", [101, 400, 900, 940, 970, 990])
def test_what_is_nested_too_deeply_is_refused(client: testing.TestClient, depth: int) -> None:
    body = f'{{"number": 1, "content": {{"a": {"[" * depth}{"]" * depth}}}}}'
    answer = send(client, body)
    assert answer.status_code in (200, 403)
    assert "nested too deeply" in answer.text


@pytest.mark.usefixtures("post")
def test_gzip_is_taken_said_or_unsaid_and_bounded(client: testing.TestClient) -> None:
    packed = gzip.compress(b'{"number": 3}')
    assert send(client, packed, Content_Encoding="gzip").json["data"]["number"] == 3
    assert send(client, packed).json["data"]["number"] == 3
    for bad in (packed[:-6], b"\x1f\x8bxx", packed[:10] + b"\xff" * 20, zlib.compress(b"{}")):
        answer = send(client, bad, Content_Encoding="gzip")
        assert (answer.status_code, answer.json["success"]) == (200, False)
        assert "not gzip" in answer.json["message"]
    bomb = gzip.compress(b" " * (arguments.MAX_BODY + 1))
    assert len(bomb) < 20_000
    assert send(client, bomb, Content_Encoding="gzip").status_code == 413
    assert send(client, packed, Content_Encoding="br").status_code == 415


@pytest.mark.usefixtures("post")
def test_a_body_has_a_limit_and_a_known_type(client: testing.TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "MAX_BODY", 1000)
    answer = send(client, json.dumps({"number": 1, "text": "x" * 1000}))
    assert (answer.status_code, answer.json["success"]) == (413, False)
    answer = client.simulate_post(PATH, body="x", headers={"Content-Type": "text/xml"})
    assert (answer.status_code, answer.json["success"]) == (415, False)
    assert client.simulate_post(PATH).json["message"] == "Argument error: missing a required argument: 'number'"


@pytest.mark.usefixtures("post")
@pytest.mark.parametrize(
    "body", [b"", b"--x", b"--x\r\n\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--", b"\0" * 100]
)
def test_bad_multipart_is_a_clear_answer(client: testing.TestClient, body: bytes) -> None:
    for boundary in ("; boundary=x", "", "; boundary=", f"; boundary={'x' * 200}"):
        answer = client.simulate_post(PATH, body=body, headers={"Content-Type": f"multipart/form-data{boundary}"})
        assert answer.status_code in (200, 400)
        assert answer.json["success"] is False


def test_a_method_that_needs_a_role_says_so(
    client: testing.TestClient, certificate_headers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, ("system", "echo"), Method("POST", echo, secure=True, production=True))
    assert send(client, '{"number": 1}').json["message"] == "SSL secure connection is required"
    answer = send(client, '{"number": 1}', **certificate_headers()).json
    assert answer["message"] == "production or pilot role required"


def test_nothing_of_a_body_is_read_before_its_sender_is_known(client: testing.TestClient) -> None:
    class Slow(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise AssertionError("a client without an identity could keep a worker for as long as it likes")

    form = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "1000000"}
    for path in ("/api/v1/task/submit", "/api/v1/file_server/upload_cache_file", "/server/panda/updateJob"):
        answer = client.simulate_post(path, headers=form, extras={"wsgi.input": Slow()})
        assert "SSL secure connection is required" in answer.text.replace("+", " ")


def test_a_query_with_too_many_fields_is_refused(client: testing.TestClient, certificate_headers: Any) -> None:
    for path in ("/server/panda/getJob", "/api/v1/pilot/get_job_status"):
        query = "&".join(f"x{number}=1" for number in range(10_001))
        answer = client.simulate_get(path, query_string=query, headers=certificate_headers())
        assert (answer.status_code, "Max number of fields exceeded" in answer.text.replace("+", " ")) == (200, True)


def test_who_sent_a_request(client: testing.TestClient, certificate_headers: Any, node: Any) -> None:
    headers = {**certificate_headers(), "Authorization": "Basic secret"}
    answer = client.simulate_get("/api/v1/system/get_attributes", headers=headers)
    assert answer.json["data"]["headers"]["X-SSL-Client-S-DN"] == "/DC=test/CN=alice"
    assert answer.json["data"]["parameters"] == {}
    environment = answer.json["data"]["environment"]
    assert (environment["SSL_CLIENT_S_DN"], environment["REQUEST_METHOD"]) == ("/DC=test/CN=alice", "GET")
    assert not environment.keys() & node.environment.keys(), "nothing of the server's own environment"
    assert "secret" not in answer.text
    assert "user=alice\n" in node.log("panda-Entry.log")
