"""The page that an operator reads, and the same numbers as metrics."""

import re
from typing import Any

from falcon import testing
from panda_node.db.tables import jobs
from panda_node.web import create_application, status_page
from panda_node.work import overview, states
from sqlalchemy import update


def test_the_page_shows_the_node_and_its_jobs(api: Any) -> None:
    api.submit(nEvents=5)
    api.daemon("split_tasks")
    api.acquire(n_jobs=2)
    with api.database.writing("test") as connection:
        old = update(jobs).where(jobs.c.status == states.ACTIVATED).values(modified=jobs.c.modified - 5400)
        connection.execute(old)
    answer = api.client.simulate_get("/node/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for text in ("PanDA node localhost", ">production<", ">yes<", "good for 1.2.0", "in use of"):
        assert text in answer.text, text
    assert re.search(r"activated</th><td>3<", answer.text)
    assert "<title>2 sent, 1 h ago</title>" in answer.text
    assert "<title>3 activated, 2 h ago</title>" in answer.text
    assert "http://" not in answer.text.replace("http-equiv", "")
    assert "<script" not in answer.text


def test_reasons_are_shown_and_escaped(sqlite_api: Any) -> None:
    sqlite_api.node.state_file.write_text("draining")
    assert "node state is draining" in sqlite_api.client.simulate_get("/node/").text
    assert "<b>" not in status_page._judged("<b>", False)


def test_a_node_whose_database_is_away_still_has_a_page(postgres_node: Any, postgres_api: Any) -> None:
    postgres_node.server["dbport"] = 1
    postgres_node.write()
    answer = testing.TestClient(create_application(postgres_node.settings())).simulate_get("/node/")
    assert answer.status_code == 200
    assert "database unreachable" in answer.text
    assert "The database does not say." in answer.text


def test_jobs_by_state_are_metrics(api: Any) -> None:
    api.submit(nEvents=4)
    api.daemon("split_tasks")
    api.acquire()
    text = api.client.simulate_get("/node/metrics").text
    assert 'panda_node_jobs{state="activated"} 3.0' in text
    assert 'panda_node_jobs{state="sent"} 1.0' in text
    assert 'panda_node_jobs{state="failed"} 0.0' in text


def test_a_day_without_jobs_has_a_chart_too() -> None:
    drawing = status_page.chart([{}] * overview.HOURS)
    assert drawing.startswith("<svg")
    assert "<rect" not in drawing
    assert set(status_page.COLOURS) == {*states.ACTIVE, *states.FINAL}
