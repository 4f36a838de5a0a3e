"""The page that an operator reads, and the same numbers as metrics."""

import html
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from falcon import testing
from panda_node.db.tables import jobs
from panda_node.web import create_application, status_page
from panda_node.work import overview, states
from sqlalchemy import func, select, update


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
    assert "activated<b>3</b>" in answer.text
    assert "<title>2 sent, 1 h ago</title>" in answer.text
    assert "<title>3 activated, 2 h ago</title>" in answer.text
    assert "http://" not in answer.text.replace("http-equiv", "")
    assert "<script" not in answer.text


def test_a_job_that_changed_this_very_second_hides_none_that_changed_before(
    sqlite_api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_api.submit(nEvents=5)
    sqlite_api.daemon("split_tasks")
    with sqlite_api.database.writing("test") as connection:
        first = jobs.c.job_id == select(func.min(jobs.c.job_id)).scalar_subquery()
        connection.execute(update(jobs).values(modified=1_000_000_000 - 60))
        connection.execute(update(jobs).where(first).values(modified=1_000_000_000))
    monkeypatch.setattr("panda_node.work.overview.time", SimpleNamespace(time=lambda: 1_000_000_000.5))
    counts = overview.Overview(sqlite_api.database)()
    assert counts is not None
    assert counts.hours[-1] == {"activated": 5}


def test_reasons_are_shown_and_escaped(sqlite_api: Any) -> None:
    sqlite_api.node.state_file.write_text("draining")
    assert "node state is draining" in sqlite_api.client.simulate_get("/node/").text
    assert "&lt;b&gt;" in status_page._judged("<b>", False)


def test_a_node_whose_database_is_away_still_has_a_page(postgres_node: Any, postgres_api: Any) -> None:
    postgres_node.server["dbport"] = 1
    postgres_node.write()
    answer = testing.TestClient(create_application(postgres_node.settings())).simulate_get("/node/")
    assert answer.status_code == 200
    assert "database unreachable" in answer.text
    assert "The database does not say." in answer.text
    assert "good for" not in answer.text, "nobody knows"


def test_jobs_by_state_are_metrics(api: Any) -> None:
    api.submit(nEvents=4)
    api.daemon("split_tasks")
    api.acquire()
    text = api.client.simulate_get("/node/metrics").text
    assert 'panda_node_jobs{state="activated"} 3.0' in text
    assert 'panda_node_jobs{state="sent"} 1.0' in text
    assert 'panda_node_jobs{state="failed"} 0.0' in text


def test_a_day_without_jobs_has_a_chart_too(sqlite_api: Any) -> None:
    drawing = status_page.chart([{}] * overview.HOURS, time.time())
    assert "<svg" in drawing
    assert "<rect" not in drawing
    assert set(status_page.COLOURS) == {*states.ACTIVE, *states.FINAL}
    assert "No job has changed within the last day." in sqlite_api.client.simulate_get("/node/").text


def test_the_chart_fits_its_highest_bar_and_says_what_is_how_high() -> None:
    hours = [{}] * 23 + [{states.FINISHED: 30, states.FAILED: 3}]
    drawing = status_page.chart(hours, 86400 * 20_000)
    assert '<div class="up"><span>40</span><span>20</span><span>0</span></div>' in drawing
    labels = "".join(f"<span>{hour}</span>" for hour in ("00:00", "06:00", "12:00", "18:00", "00:00"))
    assert f'<div class="along">{labels}</div>' in drawing
    assert 'y="25.00" width=".8" height="75.00"' in drawing
    assert 'y="17.50" width=".8" height="7.50"' in drawing
    assert [status_page._round_up(highest) for highest in (0, 1, 3, 5, 41, 399)] == [1, 1, 4, 10, 100, 400]


BROWSER = "chromium --headless --no-sandbox --allow-file-access-from-files --disable-gpu --no-first-run"
QUIET = "--disable-quic --disable-sync --disable-background-networking --disable-component-update"

# Asked of the page as the browser laid it out.
MEASURE = """
<script>
const seen = name => [...document.querySelectorAll(name)].map(element => element.getBoundingClientRect());
const page = document.documentElement;
const smallest = Math.min(...[...document.querySelectorAll("body *")].filter(e => e.textContent && e.checkVisibility())
    .map(e => parseFloat(getComputedStyle(e).fontSize)));
document.title = JSON.stringify({
    bars: seen("rect").filter(box => box.width > 1 && box.height > 1).length,
    keys: seen(".key").filter(box => box.width > 5 && box.height > 5).length,
    wide: page.scrollWidth > page.clientWidth, width: page.clientWidth, smallest,
    chart: seen("svg")[0]?.height ?? 0,
});
</script>
"""


@pytest.mark.parametrize("width", [1200, 380], ids=["desk", "phone"])
def test_a_browser_shows_the_page(sqlite_api: Any, tmp_path: Path, serving: Any, width: int) -> None:
    if shutil.which("chromium") is None:
        pytest.fail("the tests need a browser: apt-get install --no-install-recommends chromium")
    sqlite_api.submit(nEvents=5)
    sqlite_api.daemon("split_tasks")
    sqlite_api.acquire(n_jobs=2)
    browser = [*BROWSER.split(), *QUIET.split(), f"--user-data-dir={tmp_path / 'profile'}"]

    def dump(url: str) -> str:
        # The page inside a frame: a headless window has a smallest width that is wider than a phone.
        done = subprocess.run(
            [*browser, f"--window-size={width},1000", "--dump-dom", url],
            capture_output=True, text=True, timeout=120, check=True, env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
        return done.stdout

    with serving(sqlite_api.node, 1) as (url, _):
        shown = dump(f"{url}/node/")
        assert shown.count("<rect") == 2
        assert re.search(r"<dd><span class=\"good\">yes</span></dd>", shown)
    # Our policy lets no script run, so it is measured from a file, in a frame as wide as the screen.
    (tmp_path / "page.html").write_text(sqlite_api.client.simulate_get("/node/").text + MEASURE)
    (tmp_path / "frame.html").write_text(
        f'<iframe src="page.html" style="width:{width}px; height:3000px; border:0"></iframe>'
        "<script>onload = () => document.title = frames[0].document.title</script>"
    )
    title = re.search("<title>(.*)</title>", dump(f"file://{tmp_path / 'frame.html'}"))
    assert title, "the page was measured"
    found = json.loads(html.unescape(title[1]))
    assert (found["bars"], found["keys"], found["wide"]) == (2, 9, False)
    assert found["width"] == width
    assert found["smallest"] >= 13, "it can be read"
    assert found["chart"] > 150
