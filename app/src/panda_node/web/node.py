"""/node/: what load balancers and monitoring ask this node."""

import json

import falcon
from falcon import Request, Response

from panda_node import metrics, release
from panda_node.config import Settings
from panda_node.db.version import Requirement
from panda_node.readiness import ReadinessCheck
from panda_node.web.status_page import StatusPage
from panda_node.work.overview import Overview


class Live:
    """The process serves. Says nothing about the database: restarting the process would not mend that."""

    def on_get(self, _: Request, response: Response) -> None:
        response.text = json.dumps({"live": True, "release": release.NAME})

    on_head = on_get


class Ready:
    """200 if the node should get work, else 503 with the reasons."""

    def __init__(self, check: ReadinessCheck) -> None:
        self._check = check

    def on_get(self, _: Request, response: Response) -> None:
        readiness = self._check()
        response.status = falcon.HTTP_200 if readiness.ready else falcon.HTTP_503
        response.text = json.dumps({"ready": readiness.ready, "state": readiness.state, "reasons": readiness.reasons})

    on_head = on_get


class Metrics:
    """Prometheus' text format."""

    def __init__(self, settings: Settings, overview: Overview | None) -> None:
        self._collector = metrics.NodeCollector(settings.node_state_file, overview)

    def on_get(self, _: Request, response: Response) -> None:
        response.content_type = "text/plain; version=0.0.4; charset=utf-8"
        response.data = metrics.exposition(self._collector)


def add_routes(
    application: "falcon.App[Request, Response]",
    settings: Settings,
    check: ReadinessCheck,
    required: Requirement,
    overview: Overview | None,
) -> None:
    """Adds live, ready, metrics and the status page."""
    application.add_route("/node/", StatusPage(settings, check, required, overview))
    application.add_route("/node/live", Live())
    application.add_route("/node/ready", Ready(check))
    application.add_route("/node/metrics", Metrics(settings, overview))
