"""Files that users put into the cache: which are taken, how many, and how long they are kept."""

import threading
from typing import Any

import pytest
from panda_node.daemon.job import JobContext
from panda_node.daemon.jobs import clean_cache
from panda_node.db.tables import cache_files
from panda_node.web.groups import file_server
from sqlalchemy import update


def multipart(name: str, content: bytes) -> tuple[bytes, dict[str, str]]:
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + b"\r\n--b--\r\n"
    headers = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": "/DC=test/CN=alice"}
    return body, {**headers, "Content-Type": "multipart/form-data; boundary=b"}


def upload(api: Any, name: str, content: bytes = b"12345678") -> Any:
    body, headers = multipart(name, content)
    return api.client.simulate_post("/api/v1/file_server/upload_cache_file", body=body, headers=headers).json


def test_a_sandbox_is_kept_and_found_again(sqlite_api: Any) -> None:
    cache = sqlite_api.node.directory / "pandacache"
    content = b"x" * 100_000 + b"\x01\x00\x00\x00\x02\x00\x00\x00"
    assert upload(sqlite_api, "jobO.1.tar.gz", content) == {"success": True, "message": "", "data": None}
    assert (cache / "jobO.1.tar.gz").read_bytes() == content
    found = sqlite_api.post("file_server/validate_cache_file", file_size=len(content), checksum=1)
    assert (found["success"], found["message"]) == (True, "FOUND:localhost:jobO.1.tar.gz")
    assert sqlite_api.post("file_server/validate_cache_file", "bob", file_size=len(content), checksum=1) == {
        "success": False,
        "message": "NOTFOUND",
        "data": None,
    }
    assert upload(sqlite_api, "jobO.1.tar.gz", b"other")["message"] == "ERROR: cannot overwrite file"
    assert (cache / "jobO.1.tar.gz").read_bytes() == content
    assert upload(sqlite_api, "/some/where/jobO.2.tar.gz")["success"], "of a path, the last part counts"
    assert {file.name for file in cache.iterdir()} == {"jobO.1.tar.gz", "jobO.2.tar.gz"}
    assert clean_cache.run(JobContext(sqlite_api.settings, sqlite_api.database, ())) == "0 files removed"
    assert clean_cache.run(JobContext(sqlite_api.settings, sqlite_api.database, ("-1",))) == "2 files removed"
    found = sqlite_api.post("file_server/validate_cache_file", file_size=len(content), checksum=1)
    assert found["message"] == "NOTFOUND"


@pytest.mark.parametrize("name", ["..", "../", ".hidden", "a b", "schedconfig", "x" * 201, "a%00b", "..%2fx", "a\\b"])
def test_a_bad_file_name_is_refused_and_nothing_is_kept(sqlite_api: Any, name: str) -> None:
    assert upload(sqlite_api, name)["success"] is False
    cache = sqlite_api.node.directory / "pandacache"
    assert not cache.exists() or list(cache.iterdir()) == []
    assert upload(sqlite_api, "")["success"] is False


def test_an_upload_has_a_limit(sqlite_api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panda_node.web.groups.file_server.SMALL_UPLOAD", 10)
    assert upload(sqlite_api, "jobO.big", b"x" * 11)["message"].startswith("ERROR: upload failure. Exceeded size limit")
    assert list((sqlite_api.node.directory / "pandacache").iterdir()) == []
    assert upload(sqlite_api, "sources.big", b"x" * 11)["success"]


def test_an_identity_has_a_quota_of_uploads_on_each_node(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    api.node.server["cache_quota"] = 1
    api.node.write()
    here = type(api)(api.node)
    cache = api.node.directory / "pandacache"
    assert upload(here, "jobO.1", b"x" * 700_000)["success"]
    refused = upload(here, "jobO.2", b"x" * 700_000)
    assert (refused["success"], refused["data"]) == (False, None)
    assert refused["message"].startswith("ERROR: upload failure. Your files on this server take 1 of 1 MB.")
    assert [file.name for file in cache.iterdir()] == ["jobO.1"] == [row.name for row in here.rows(cache_files)]
    assert all(upload(here, f"sources.{number}", b"")["success"] for number in range(84))
    assert not upload(here, "sources.84", b"")["success"], "empty files take their place too"
    monkeypatch.setattr("panda_node.web.groups.file_server._write", None)  # nothing of a body is read any more
    with here.database.writing("test") as connection:
        connection.execute(update(cache_files).where(cache_files.c.name == "jobO.1").values(size=2_000_000))
    assert not upload(here, "jobO.3", b"x")["success"]
    with here.database.writing("test") as connection:
        connection.execute(update(cache_files).values(host="another.node"))
    monkeypatch.undo()
    assert upload(here, "jobO.3", b"x")["success"]


def test_two_uploads_at_once_do_not_pass_the_quota(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    api.node.server["cache_quota"] = 1
    api.node.write()
    here = type(api)(api.node)
    both, write = threading.Barrier(2), file_server._write

    def write_together(*arguments: Any) -> tuple[int, int]:
        written = write(*arguments)
        both.wait(10)
        return written

    monkeypatch.setattr(file_server, "_write", write_together)
    answers: list[bool] = []
    threads = [
        threading.Thread(target=lambda name=name: answers.append(upload(here, name, b"x" * 700_000)["success"]))
        for name in ("jobO.1", "jobO.2")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(answers), sum(answers) < 2) == (2, True)
    assert len(here.rows(cache_files)) == len(list((api.node.directory / "pandacache").iterdir())) == sum(answers)


def test_a_name_that_another_node_has_is_taken(sqlite_api: Any) -> None:
    assert upload(sqlite_api, "jobO.1")["success"]
    (sqlite_api.node.directory / "pandacache/jobO.1").unlink()
    with sqlite_api.database.writing("test") as connection:
        connection.execute(update(cache_files).values(host="another.node"))
    assert upload(sqlite_api, "jobO.1")["message"] == "ERROR: cannot overwrite file"
    assert list((sqlite_api.node.directory / "pandacache").iterdir()) == []
    assert [row.host for row in sqlite_api.rows(cache_files)] == ["another.node"]


def test_a_file_that_somebody_took_away_counts_no_more(sqlite_api: Any) -> None:
    assert upload(sqlite_api, "jobO.1")["success"]
    (sqlite_api.node.directory / "pandacache/jobO.1").unlink()
    assert clean_cache.run(JobContext(sqlite_api.settings, sqlite_api.database, ())) == "0 files removed"
    assert sqlite_api.rows(cache_files) == []


def test_no_upload_fills_the_disk(sqlite_api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panda_node.web.groups.file_server.MIN_FREE", 2**60)
    refused = upload(sqlite_api, "jobO.1")
    assert refused["message"] == "ERROR: upload failure. The disk of this server is nearly full; try again later."
    assert list((sqlite_api.node.directory / "pandacache").iterdir()) == []
    assert "is nearly full" in sqlite_api.node.log("panda-Entry.log")
