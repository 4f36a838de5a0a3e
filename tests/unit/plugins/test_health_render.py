"""The health report as it is shown: fits a terminal, is read by programs, and is one page that loads nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils.health import judge, model, render

from .conftest import MakePair, Pair
from .health_findings import BALANCERS, RELEASE, change, sound
from .test_health_judge import FAULTS

LIMITS = model.Limits()
WHEN = "2026-11-24 21:00 UTC"
BROWSER = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--window-size=500,900",
)  # fmt: skip


@pytest.fixture(scope="module")
def pair(make_pair: MakePair) -> Pair:
    return make_pair("pandaserver.cern.ch", valid_to=90)


@pytest.fixture
def nodes(pair: Pair) -> list[model.Node]:
    """A sound node, one with two faults, and one that cannot be reached; what is said of one looks like markup."""
    found = {name: sound(name, pair) for name in ("node-00", "node-01", "node-02")}
    found["node-02"].update(seen={}, trouble="cannot be reached: <b>no</b> route")
    FAULTS["stopped unit"][0](found["node-01"]["seen"])
    changes = {"node-01": [change("Write the configuration of httpd", "/etc/panda/panda_server-httpd.conf")]}
    return judge.fleet(found, changes, BALANCERS, LIMITS)


def renamed(nodes: list[model.Node], name: str) -> list[model.Node]:
    return [replace(node, name=f"{name}{number:02}") for number, node in enumerate(nodes)]


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize(
    "name", ["n", "atlas-pandaserver-", "a-rather-long-name.of-a-host.in-some-domain.example.org-"]
)
def test_the_table_fits_the_terminal(nodes: list[model.Node], name: str, width: int) -> None:
    lines = render.table(renamed(nodes, name), width)
    assert len(lines) == 4
    assert max(map(len, lines)) <= width
    assert all(line.split()[0].endswith(f"{number:02}") for number, line in enumerate(lines[1:]))


def test_what_is_at_fault_is_marked_without_colours(nodes: list[model.Node]) -> None:
    heading, first, second, third = render.table(nodes, 120)
    assert heading.split() == ["NODE", *map(str.upper, model.COLUMNS)]
    assert first.split() == [
        "node-00",
        "production",
        "8/8",
        "3/3",
        RELEASE,
        "1.2.0",
        "89d",
        "2/2",
        "1/1",
        "+0.0s",
        "41%",
        "none",
    ]
    assert second.split()[2] == "!7/8"
    assert second.split()[-1] == "!1"
    assert third.split()[1:3] == ["!unreachable", "-"]


def test_a_fleet_without_a_balancer_has_no_column_for_it(pair: Pair) -> None:
    judged = judge.fleet({"node-00": sound("node-00", pair)}, {}, {}, LIMITS)
    assert "LB" not in render.table(judged, 120)[0].split()
    assert '<th scope="col">lb</th>' not in render.page(judged, LIMITS, WHEN, [])


def test_a_narrow_table_keeps_what_tells_releases_apart(nodes: list[model.Node]) -> None:
    narrow = render.table(renamed(nodes, "atlas-pandaserver-"), 80)
    assert RELEASE not in narrow[1]
    assert "0a1b2c3" in narrow[1]


@pytest.mark.parametrize("width", [80, 120])
def test_every_fault_stands_under_its_node_with_its_remedy(nodes: list[model.Node], width: int) -> None:
    lines = render.fault_lines(nodes, width)
    text = re.sub(r"\s+", " ", "\n".join(lines))
    assert max(map(len, lines)) <= width
    assert "node-00" not in text
    assert text.startswith(
        " node-01 units panda_daemon.service is inactive → on node-01: systemctl start panda_daemon.service; "
    )
    assert "drift site.yml would change 'Write the configuration of httpd' (/etc/panda/panda_server-httpd.conf)" in text
    assert " node-02 state node-02 cannot be reached: <b>no</b> route → " in text


def test_the_headline_counts(nodes: list[model.Node]) -> None:
    assert render.headline(nodes) == "3 faults on 2 of 3 nodes"
    assert render.headline(nodes[:1]) == "1 node, no fault"


def test_programs_read_each_fault_and_what_was_seen(nodes: list[model.Node]) -> None:
    document = json.loads(json.dumps(render.document(nodes, LIMITS, WHEN, [])))
    assert document["form"] == render.FORM
    assert document["sound"] is False
    assert [node["sound"] for node in document["nodes"].values()] == [True, False, False]
    (unit, drift) = document["nodes"]["node-01"]["faults"]
    assert set(unit) == {"column", "thing", "what", "remedy"}
    assert (unit["column"], unit["thing"], drift["column"]) == ("units", "panda_daemon.service", "drift")
    seen = document["nodes"]["node-00"]["seen"]
    assert seen["release"] == {
        "active": RELEASE,
        "running": RELEASE,
        "last_good": RELEASE,
        "good": [RELEASE],
        "bad": {},
    }
    assert seen["certificate"]["served_is_on_disk"] is True
    assert seen["squid"]["asked"]["node-01"] == {"icp": "answers", "http": ""}
    assert seen["balancers"]["lb-01"]["panda_https"] == "UP"
    assert seen["ports"]["25443"] == {
        "unit": "panda_httpd.service", "listener": "panda_httpd.service", "from_control_machine": "open",
    }  # fmt: skip


def test_a_report_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "new" / "health.json"
    render.write(path, "first")
    inode = path.stat().st_ino
    with path.open() as reader:
        render.write(path, "second")
        assert reader.read() == "first"
    assert path.read_text() == "second"
    assert path.stat().st_ino != inode
    assert [file.name for file in path.parent.iterdir()] == ["health.json"]


def test_the_page_loads_nothing_from_elsewhere(nodes: list[model.Node]) -> None:
    page = render.page(nodes, LIMITS, WHEN, [])
    assert re.findall(r"https?://[^\s\"']*", re.sub(r"<(div|dd|p)\b.*?</\1>", "", page)) == []
    assert set(re.findall(r'(?:src|href)="([^"#]*)', page)) <= {"data:,", ""}
    assert "<script" not in page


def browse(folder: Path, page: str) -> tuple[str, str]:
    """The page's document as a browser holds it, and what the browser complains of."""
    (folder / "health.html").write_text(page)
    done = subprocess.run(
        [str(shutil.which("chromium")), *BROWSER, f"--user-data-dir={folder}/profile", "--dump-dom",
         f"file://{folder}/health.html"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    complaints = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return done.stdout, complaints


@pytest.fixture
def browser_folder(tmp_path: Path) -> Path:
    if not shutil.which("chromium"):
        pytest.fail("chromium is not installed here: tools/bootstrap --for-tests installs it")
    return tmp_path


def test_a_browser_shows_the_fleet(nodes: list[model.Node], browser_folder: Path) -> None:
    document, complaints = browse(browser_folder, render.page(nodes, LIMITS, WHEN, ["Drift is not known: why"]))
    assert complaints == ""
    assert '<h1 class="bad">3 faults on 2 of 3 nodes</h1>' in document
    rows = re.findall(r"<tr>.*?</tr>", document, re.DOTALL)
    assert len(rows) == 4
    assert len(re.findall(r'class="bad">', rows[2])) == 2
    assert '<td class="bad">7/8</td>' in rows[2]
    assert "<b>panda_daemon.service</b> is inactive" in document
    assert "<dt>lb-01</dt><dd>panda_http: UP, panda_https: UP, panda_cache: UP</dd>" in document
    assert "&lt;b&gt;no&lt;/b&gt; route" in document
    assert "Drift is not known: why" in document


def test_a_browser_shows_a_sound_fleet(pair: Pair, browser_folder: Path) -> None:
    judged = judge.fleet({"node-00": sound("node-00", pair)}, {}, BALANCERS, LIMITS)
    document, complaints = browse(browser_folder, render.page(judged, LIMITS, WHEN, []))
    assert complaints == ""
    assert '<h1 class="good">1 node, no fault</h1>' in document
    assert 'class="bad"' not in document
    assert "the one that is served" in document


def test_what_would_be_loaded_from_elsewhere_is_refused_and_complained_of(browser_folder: Path, pair: Pair) -> None:
    page = render.page(judge.fleet({"node-00": sound("node-00", pair)}, {}, BALANCERS, LIMITS), LIMITS, WHEN, [])
    spoiled = page.replace("</main>", '<img src="http://127.0.0.1:9/x.png"><script>1</script></main>')
    _, complaints = browse(browser_folder, spoiled)
    assert complaints.count("Content Security Policy") >= 2


def test_the_page_is_no_wider_than_a_phone(nodes: list[model.Node], browser_folder: Path) -> None:
    page = render.page(renamed(nodes, "atlas-pandaserver-"), LIMITS, WHEN, [])
    page = re.sub(r"<meta http-equiv.*?>", "", page)
    measure = "document.title = document.documentElement.scrollWidth <= window.innerWidth ? 'fits' : 'too wide'"
    document, _ = browse(browser_folder, page.replace("</body>", f"<script>{measure}</script></body>"))
    assert "<title>fits</title>" in document
