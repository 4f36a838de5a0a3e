"""A job through this node, as a client and a pilot would bring it: what a node shows before it gets real work.

It asks the application over its socket, as httpd does: who may open that socket may speak for any client.
"""

import http.client
import json
import socket
import time
import urllib.parse
from pathlib import Path
from typing import Any

from panda_node.config import Settings
from panda_node.errors import PandaNodeError
from panda_node.work.job_specification import JOB_ATTRIBUTES

REQUEST_SECONDS = 30
PAUSE_SECONDS = 0.5
_ISSUER = "/O=panda-node/CN=burn-in"


class BurnInError(PandaNodeError):
    """The node did not do with the job what it should."""


def run(settings: Settings, path: Path, wait: float) -> list[str]:
    """Submits a job to a queue of this node's own, takes it, reports on it; returns what was done, a line each.

    Waits up to `wait` seconds for a daemon of the fleet to finish the job; 0: the report is the end. Where
    `production_dns` names nobody, no pilot may report, so the job is taken back instead.
    """
    client = _Client(path, settings.production_dns)
    site = f"burn-in-{settings.host}"
    ((job_id, *_),) = client.post("job/submit", jobs=json.dumps([_job(site)]))
    done = [f"job {job_id} submitted to queue {site}"]
    taken = client.post("pilot/acquire_jobs", site_name=site, prod_source_label="user", node=settings.host)["jobs"]
    while job_id not in [job["PandaID"] for job in taken]:
        # One that an interrupted burn-in left behind comes first.
        taken = client.post("pilot/acquire_jobs", site_name=site, prod_source_label="user", node=settings.host)["jobs"]
    done.append("acquired by a pilot")
    if not client.production:
        client.post("job/kill", job_ids=[job_id])
        return [*done, "taken back: production_dns names nobody, so no pilot may report on this node"]
    for state in ("running", "finished"):
        client.post("pilot/update_job", job_id=job_id, job_status=state, attempt_nr=1, job_output_report="{}")
        done.append(f"reported {state}")
    if wait:
        done.append(f"ended {client.wait_for_end(job_id, wait)} by the daemon")
    return done


def make_known(settings: Settings, path: Path) -> list[str]:
    """Asks the public package who this client is; it reads its list of banned users from the database for that.

    A job needs a site, and what a site is named and made of is the experiment's: none is brought.
    """
    client = _Client(path, settings.production_dns)
    client.get("system/is_alive")
    known = client.get("system/get_user_attributes")
    if known["user_dn_raw"] != client.subject:
        raise BurnInError(
            f"the package takes {client.subject} for {known['user_dn_raw']}: httpd's headers do not arrive"
        )
    return ["alive", f"known as {known['user_dn_clean']}"]


def _job(site: str) -> list[object]:
    values: dict[str, object] = {
        "jobName": "burn-in",
        "prodSourceLabel": "user",
        "computingSite": site,
        "transformation": "true",
        "maxAttempt": 1,
        "jobDefinitionID": 0,
    }
    return [*(values.get(name, "NULL") for name in JOB_ATTRIBUTES), []]


class _Client:
    """Calls of the API over the application's socket."""

    def __init__(self, path: Path, production_dns: tuple[str, ...]) -> None:
        self._path = path
        self.production = bool(production_dns)
        part = production_dns[0].strip("/") if production_dns else "CN=burn-in"
        self.subject = f"/O=panda-node/{part}"
        self._headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "Connection": "close",
            "X-Forwarded-Proto": "https",
            "X-SSL-Client-Verify": "SUCCESS",
            "X-SSL-Client-S-DN": self.subject,
            "X-SSL-Client-I-DN": _ISSUER,
        }

    def get(self, method: str) -> Any:
        """The data of a GET."""
        return self._call("GET", method)

    def post(self, method: str, **arguments: object) -> Any:
        """The data of a POST."""
        return self._call("POST", method, json.dumps(arguments))

    def wait_for_end(self, job_id: int, seconds: float) -> str:
        """The job's last state."""
        deadline = time.monotonic() + seconds
        method = f"job/get_status?{urllib.parse.urlencode({'job_ids': job_id})}"
        while (state := str(self._call("GET", method)[0]["status"])) not in ("finished", "failed"):
            if time.monotonic() > deadline:
                raise BurnInError(
                    f"job {job_id} is {state} after {seconds:g} s: no daemon of the fleet finishes jobs; "
                    "see panda-daemons.log, and [daemon] add_main in panda_server.cfg"
                )
            time.sleep(PAUSE_SECONDS)
        if state == "failed":
            raise BurnInError(f"job {job_id} ended failed; panda-daemons.log says why")
        return state

    def _call(self, http_method: str, method: str, body: str | None = None) -> Any:
        connection = _UnixConnection(self._path)
        try:
            connection.request(http_method, f"/api/v1/{method}", body, self._headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise BurnInError(f"{self._path}: {method}: {error}; is panda_wsgi.service running?") from error
        finally:
            connection.close()
        try:
            envelope = json.loads(text)
        except ValueError:
            envelope = {"message": text[:200]}
        if answer.status != http.HTTPStatus.OK or not envelope.get("success"):
            raise BurnInError(f"{method} answered {answer.status}: {envelope.get('message', text[:200])}")
        return envelope["data"]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=REQUEST_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(REQUEST_SECONDS)
        self.sock.connect(str(self._path))
