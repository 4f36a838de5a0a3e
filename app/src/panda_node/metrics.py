"""The process's Prometheus metrics. Under gunicorn (PROMETHEUS_MULTIPROC_DIR) all workers' numbers are summed."""

import os
import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from panda_node import __version__, node_state, release

if TYPE_CHECKING:  # it uses the pool, which uses these metrics
    from panda_node.work.overview import Overview

REQUESTS = Counter("panda_node_requests_total", "Requests answered.", ["route", "method", "status"])
LATENCY = Histogram(
    "panda_node_request_seconds",
    "Time from the request's arrival in the application to its answer.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
POOL_IN_USE = Gauge("panda_node_db_connections_in_use", "Database connections in use.", multiprocess_mode="livesum")
POOL_SIZE = Gauge(
    "panda_node_db_connections_limit", "Database connections that may be open.", multiprocess_mode="livesum"
)


class NodeCollector(Collector):
    """What is the same in every process, and is looked up when asked for."""

    def __init__(self, state_file: Path, overview: "Overview | None") -> None:
        self._state_file = state_file
        self._overview = overview

    def collect(self) -> Iterator[GaugeMetricFamily]:
        build = GaugeMetricFamily("panda_node_build_info", "The running code.", labels=["version", "release", "python"])
        build.add_metric([__version__, release.NAME, platform.python_version()], 1)
        yield build
        current = node_state.read(self._state_file)
        state = GaugeMetricFamily("panda_node_state", "1 for the state the node is in.", labels=["state"])
        for name in node_state.STATES:
            state.add_metric([name], 1 if name == current else 0)
        yield state
        if counts := self._overview and self._overview():
            jobs = GaugeMetricFamily(
                "panda_node_jobs", "Jobs in each state; in final ones, those of the last day.", labels=["state"]
            )
            for name, count in counts.by_state.items():
                jobs.add_metric([name], count)
            yield jobs


def answered(route: str, method: str, status: int, seconds: float) -> None:
    """Counts a request. The three names are kept: they are few, and no client may make others."""
    requests, latency = _of(route, method, status)
    requests.inc()
    latency.observe(seconds)


@cache
def _of(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(route, method, status), LATENCY.labels(route)


def pool_in_use() -> float:
    """Connections of this process that are in use."""
    return float(POOL_IN_USE._value.get())


def pool_limit() -> float:
    """Connections that this process may open."""
    return float(POOL_SIZE._value.get())


def exposition(collector: NodeCollector) -> bytes:
    """All metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        text = generate_latest(registry)
    else:
        text = generate_latest(REGISTRY)
    registry = CollectorRegistry()
    registry.register(collector)
    return text + generate_latest(registry)
