"""/node/: the node's state on one page, for a person with a browser. It shows, and changes nothing."""

import platform
import time
from collections.abc import Mapping, Sequence
from html import escape

from falcon import Request, Response

from panda_node import __version__, metrics, release
from panda_node.config import Settings
from panda_node.db.version import Requirement
from panda_node.node_state import PRODUCTION
from panda_node.readiness import ReadinessCheck
from panda_node.work import states
from panda_node.work.overview import Counts, Overview

# From the first to the last state of a job's life.
COLOURS = {
    states.ACTIVATED: "#b9c4cf",
    states.SENT: "#9fd0e8",
    states.STARTING: "#6cb4da",
    states.RUNNING: "#2f7fb8",
    states.TRANSFERRING: "#1d5d8c",
    states.HOLDING: "#e3c567",
    states.FINISHED: "#4d9a5f",
    states.CANCELLED: "#8a8a8a",
    states.FAILED: "#c2493d",
}
_STYLE = """
:root { --ink: #22303c; --soft: #5b6b79; --line: #dde3e8 }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; color: var(--ink); background: #f4f6f8 }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem }
header { display: flex; flex-wrap: wrap; align-items: center; gap: .25rem 1rem }
h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere } h2 { font-size: 1.1rem; margin: 0 0 1rem }
section { background: #fff; border: 1px solid var(--line); border-radius: .5rem; padding: 1.25rem; margin-top: 1.25rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 2rem; margin: 0 }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
.good { color: #23673a } .bad { color: #a3271b; font-weight: 600 }
header .good, header .bad { border: 1px solid; border-radius: 1rem; padding: 0 .75rem; font-weight: 600 }
.chart { display: grid; grid-template-columns: max-content 1fr; gap: 0 .5rem; font-size: .85rem; color: var(--soft) }
.up, .along { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums }
.up { flex-direction: column; text-align: right; margin: -.65rem 0 } .up, svg { height: 14rem }
.up { height: 15.3rem } svg { width: 100%; display: block } .along { padding-top: .3rem }
.along, .unit { grid-column: 2 } .unit { text-align: center } .over { grid-column: 1 / 3; margin-bottom: .9rem }
.legend { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .3rem 1.5rem }
.legend { list-style: none; margin: 1.25rem 0 0; padding: 0 }
.legend li { display: flex; align-items: center; gap: .5rem }
.legend b { margin-left: auto; font-weight: 600; font-variant-numeric: tabular-nums }
.key { width: .85rem; height: .85rem; border-radius: .15rem; flex: none }
footer { color: var(--soft); font-size: .85rem; margin-top: 1rem }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .6rem } }
"""
# Nothing is loaded from anywhere, and no script runs, whatever the page may contain.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class StatusPage:
    """GET /node/."""

    def __init__(
        self, settings: Settings, check: ReadinessCheck, required: Requirement, overview: Overview | None
    ) -> None:
        self._settings = settings
        self._check = check
        self._required = required
        self._overview = overview

    def on_get(self, _: Request, response: Response) -> None:
        response.content_type = "text/html; charset=utf-8"
        response.set_header("Content-Security-Policy", _POLICY)
        response.cache_control = ["no-store"]
        response.text = self._page()

    on_head = on_get

    def _page(self) -> str:
        readiness = self._check()
        host = escape(self._settings.host)
        rows = {
            "Ready for work": _judged("yes", True) if readiness.ready else _judged("; ".join(readiness.reasons), False),
            "Release": escape(f"{release.NAME} (panda-node {__version__}, Python {platform.python_version()})"),
            "Database": escape(self._settings.database.backend),
            "Schema": _schema(readiness.reasons, self._required),
            **self._pool(),
        }
        table = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows.items())
        return (
            f"<!doctype html><html lang=en><head><meta charset=utf-8><title>PanDA node {host}</title>"
            '<meta name=viewport content="width=device-width, initial-scale=1"><meta http-equiv=refresh content=60>'
            f"<style>{_STYLE}</style></head><body><main>"
            f"<header><h1>PanDA node {host}</h1>{_judged(readiness.state, readiness.state == PRODUCTION)}</header>"
            f"<section><dl>{table}</dl></section>"
            f"{_jobs(self._overview(), time.time()) if self._overview else ''}"
            f"<footer>As of {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}; "
            "read anew every minute.</footer></main></body></html>\n"
        )

    def _pool(self) -> dict[str, str]:
        """The connections of this process, where they are ours."""
        if self._overview is None:
            return {}
        return {"Connections": escape(f"{metrics.pool_in_use():.0f} in use of {metrics.pool_limit():.0f}")}


def _schema(reasons: Sequence[str], required: Requirement) -> str:
    """Good, wrong, or not known: a database that does not answer does not tell its schema either."""
    wrong = [reason for reason in reasons if reason.startswith("DB schema check")]
    if wrong:
        return _judged(wrong[0], False)
    if any(reason.startswith("database") for reason in reasons):
        return _judged("not known, the database does not answer", False)
    return _judged(f"good for {required.version}", True)


def _judged(text: str, good: bool) -> str:
    return f'<span class="{"good" if good else "bad"}">{escape(text)}</span>'


def _jobs(counts: Counts | None, now: float) -> str:
    title = "<h2>Jobs by state over the last day</h2>"
    if counts is None:
        return f'<section>{title}<p class="bad">The database does not say.</p></section>'
    legend = "".join(
        f'<li><span class="key" style="background:{COLOURS[state]}"></span>{state}<b>{count}</b></li>'
        for state, count in counts.by_state.items()
    )
    nothing = "" if any(counts.hours) else "<p>No job has changed within the last day.</p>"
    return f'<section>{title}{nothing}{chart(counts.hours, now)}<ul class="legend">{legend}</ul></section>'


def chart(hours: Sequence[Mapping[str, int]], now: float) -> str:
    """A bar for each hour, with the jobs that last changed in it, stacked by state.

    Its labels are text of the page, not of the drawing, which is stretched to the width of the screen.
    """
    top = _round_up(max((sum(hour.values()) for hour in hours), default=0))
    bars = []
    for place, hour in enumerate(hours):
        below = 0
        for state, colour in COLOURS.items():
            if count := hour.get(state, 0):
                below += count
                title = f"<title>{count} {state}, {len(hours) - place} h ago</title>"
                box = f'x="{place + 0.1}" y="{100 * (1 - below / top):.2f}" width=".8" height="{100 * count / top:.2f}"'
                bars.append(f'<rect {box} fill="{colour}">{title}</rect>')
    steps = [top, top // 2, 0] if top % 2 == 0 else [top, 0]
    # Lines that keep their width, however the drawing is stretched.
    line = 'stroke="#dde3e8" vector-effect="non-scaling-stroke"'
    lines = "".join(f'<path d="M0 {100 * (1 - step / top)}H{len(hours)}" {line}/>' for step in steps)
    clock = [time.strftime("%H:%M", time.gmtime(now - 3600 * back)) for back in range(len(hours), -1, -6)]
    return (
        '<div class="chart"><div class="over">jobs an hour</div>'
        f'<div class="up">{"".join(f"<span>{step}</span>" for step in steps)}</div>'
        f'<svg viewBox="0 0 {len(hours)} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="Jobs by hour and state">{lines}{"".join(bars)}</svg>'
        f'<div class="along">{"".join(f"<span>{text}</span>" for text in clock)}</div>'
        '<div class="unit">time of day (UTC), the last 24 hours</div></div>'
    )


def _round_up(highest: int) -> int:
    """The next of 1, 2, 4, 10, 20, 40, 100, ...: a height that can be labelled."""
    top = 1
    while top < highest:
        top = top * 5 // 2 if str(top).startswith("4") else top * 2
    return top
