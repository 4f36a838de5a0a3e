"""/node/: the node's state on one page, for a person with a browser. It shows, and changes nothing."""

import platform
import time
from collections.abc import Mapping, Sequence
from html import escape

from falcon import Request, Response

from panda_node import __version__, metrics, release
from panda_node.config import Settings
from panda_node.db.version import REQUIRED
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
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222 }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } th { text-align: left; font-weight: 600; padding-right: 2rem; vertical-align: top }
td, th { padding-top: .15rem; padding-bottom: .15rem } .good { color: #2c6e3b } .bad { color: #a3271b }
svg { width: 100%; height: auto } .key { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem }
"""
# Nothing is loaded from anywhere, and no script runs, whatever the page may contain.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class StatusPage:
    """GET /node/."""

    def __init__(self, settings: Settings, check: ReadinessCheck, overview: Overview) -> None:
        self._settings = settings
        self._check = check
        self._overview = overview

    def on_get(self, _: Request, response: Response) -> None:
        response.content_type = "text/html; charset=utf-8"
        response.set_header("Content-Security-Policy", _POLICY)
        response.cache_control = ["no-store"]
        response.text = self._page()

    on_head = on_get

    def _page(self) -> str:
        readiness = self._check()
        schema = next((reason for reason in readiness.reasons if reason.startswith("DB schema check")), "")
        rows = {
            "Node": escape(self._settings.host),
            "State": _judged(readiness.state, readiness.state == "production"),
            "Ready": _judged("yes", True) if readiness.ready else _judged("; ".join(readiness.reasons), False),
            "Release": escape(f"{release.NAME} (panda-node {__version__}, Python {platform.python_version()})"),
            "Database": escape(self._settings.database.backend),
            "Schema": _judged(schema or f"good for {REQUIRED}", not schema),
            "Connections": escape(f"{metrics.pool_in_use():.0f} in use of {metrics.pool_limit():.0f}"),
            "Time": escape(time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())),
        }
        table = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows.items())
        return (
            f"<!doctype html><html lang=en><head><meta charset=utf-8><title>PanDA node {escape(self._settings.host)}"
            f'</title><meta name=viewport content="width=device-width"><meta http-equiv=refresh content=60>'
            f"<style>{_STYLE}</style></head><body><h1>PanDA node {escape(self._settings.host)}</h1>"
            f"<table>{table}</table><h2>Jobs by state over the last day</h2>{_jobs(self._overview())}</body></html>\n"
        )


def _judged(text: str, good: bool) -> str:
    return f'<span class="{"good" if good else "bad"}">{escape(text)}</span>'


def _jobs(counts: Counts | None) -> str:
    if counts is None:
        return '<p class="bad">The database does not say.</p>'
    legend = "".join(
        f'<tr><th><span class="key" style="background:{COLOURS[state]}"></span>{state}</th><td>{count}</td></tr>'
        for state, count in counts.by_state.items()
    )
    return f"{chart(counts.hours)}<table>{legend}</table>"


def chart(hours: Sequence[Mapping[str, int]]) -> str:
    """A bar for each hour, with the jobs that last changed in it, stacked by state."""
    highest = max((sum(hour.values()) for hour in hours), default=0) or 1
    width, height, bar = 960, 240, 960 / max(1, len(hours))
    parts = [f'<svg viewBox="0 0 {width} {height + 40}" role="img" aria-label="Jobs by hour and state">']
    for place, hour in enumerate(hours):
        top = float(height + 10)
        for state, colour in COLOURS.items():
            if count := hour.get(state, 0):
                size = height * count / highest
                top -= size
                title = f"<title>{count} {state}, {len(hours) - place} h ago</title>"
                box = f'x="{place * bar + 2:.1f}" y="{top:.1f}" width="{bar - 4:.1f}" height="{size:.1f}"'
                parts.append(f'<rect {box} fill="{colour}">{title}</rect>')
    line = f'<path d="M0 {height + 10}H{width}" stroke="#888"/>'
    labels = f'<text x="0" y="{height + 32}">{len(hours)} h ago</text>'
    labels += f'<text x="{width}" y="{height + 32}" text-anchor="end">now</text>'
    labels += f'<text x="4" y="24" fill="#666">{highest} an hour</text>'
    return "".join([*parts, line, labels, "</svg>"])
