"""/server/panda/<method>: the old spelling, which load balancers, monitors and released pilots still use.

Each method says the same as one of /api/v1, in other words: form fields in camel case, and a flat answer.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import falcon
from falcon import Request, Response

from panda_node.web import arguments
from panda_node.web.access import ForbiddenError
from panda_node.web.api import MESSAGE_PRODUCTION, MESSAGE_SSL, ApiV1, forbid, forbidden_text
from panda_node.web.methods import METHODS, Answer, RefusalError, json_value

NO_JOBS, FAILED, INVALID = 20, 30, 60


class IsAlive:
    """Says that the application serves; asks nothing of the database."""

    def on_get(self, _: Request, response: Response) -> None:
        response.content_type = "text/plain"
        response.text = "alive=yes"

    on_head = on_post = on_get


@dataclass(frozen=True)
class Legacy:
    """An old method: the new one, and what its old fields are called there. Unknown old fields are passed over."""

    name: tuple[str, str]
    fields: dict[str, str]


def _fields(text: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in text.split())


GET_JOB = Legacy(
    ("pilot", "acquire_jobs"),
    _fields("""
        siteName=site_name timeout=timeout mem=memory diskSpace=disk_space prodSourceLabel=prod_source_label node=node
        computingElement=computing_element prodUserID=prod_user_id taskID=task_id nJobs=n_jobs
        resourceType=resource_type harvester_id=harvester_id worker_id=worker_id schedulerID=scheduler_id
        jobType=job_type
    """),
)
UPDATE_JOB = Legacy(
    ("pilot", "update_job"),
    _fields("""
        jobId=job_id state=job_status node=node siteName=site_name attemptNr=attempt_nr xml=job_output_report
        metaData=meta_data pilotLog=pilot_log stdout=stdout transExitCode=trans_exit_code
        pilotErrorCode=pilot_error_code pilotErrorDiag=pilot_error_diag exeErrorCode=exe_error_code
        exeErrorDiag=exe_error_diag pilotTiming=pilot_timing startTime=start_time endTime=end_time nEvents=n_events
        batchID=batch_id pilotID=pilot_id schedulerID=scheduler_id jobMetrics=job_metrics jobSubStatus=job_sub_status
        coreCount=core_count cpuConsumptionTime=cpu_consumption_time cpuConsumptionUnit=cpu_consumption_unit
        cpuConversionFactor=cpu_conversion_factor maxRSS=max_rss maxVMEM=max_vmem maxSWAP=max_swap maxPSS=max_pss
        avgRSS=avg_rss avgVMEM=avg_vmem avgSWAP=avg_swap avgPSS=avg_pss
    """),
)
GET_STATUS = Legacy(("pilot", "get_job_status"), {"ids": "job_ids", "timeout": "timeout"})


class OldMethod:
    """Answers one old method."""

    def __init__(self, api: ApiV1, legacy: Legacy) -> None:
        self._api = api
        self._legacy = legacy

    def on_post(self, request: Request, response: Response) -> None:
        try:
            outcome = self._api.call(METHODS[self._legacy.name], request, lambda: self._arguments(request))
        except RefusalError as refusal:
            answer = self._refused(refusal)
        except ForbiddenError as error:
            forbidden_text(response, str(error))
            return
        else:
            answer = self._flat(outcome.data if isinstance(outcome, Answer) else outcome)
        if "application/json" in (request.get_header("Accept") or ""):
            response.content_type = falcon.MEDIA_JSON
            response.text = json.dumps(answer, default=json_value)
        else:
            response.content_type = falcon.MEDIA_TEXT
            response.text = urlencode(answer)

    on_get = on_post

    def _arguments(self, request: Request) -> dict[str, Any]:
        method = METHODS[self._legacy.name]
        fields = arguments.query(request.query_string)
        if request.method == "POST":
            fields |= arguments.form(request)
        given: dict[str, list[str]] = {}
        for name, values in fields.items():
            # Old pilots write None and NULL for what they do not know.
            if name in self._legacy.fields and values[-1] not in ("", "None", "NULL", "unknown"):
                given[self._legacy.fields[name]] = values[-1:]
        if "job_ids" in given:
            given["job_ids"] = given["job_ids"][0].replace(",", " ").split()
        return arguments.bind(method, given, cast_text=True)

    def _refused(self, refusal: RefusalError) -> dict[str, Any]:
        if str(refusal) in (MESSAGE_SSL, MESSAGE_PRODUCTION):
            return {"StatusCode": INVALID, "errorDialog": str(refusal)}
        code = NO_JOBS if self._legacy is GET_JOB and str(refusal).startswith("No jobs") else FAILED
        code = refusal.data.get("StatusCode", code) if isinstance(refusal.data, dict) else code
        return {"StatusCode": code, "errorDialog": str(refusal)}

    def _flat(self, data: Any) -> dict[str, Any]:
        if self._legacy is GET_JOB:
            jobs = data["jobs"]
            return jobs[0] if len(jobs) == 1 else {"StatusCode": 0, "jobs": jobs}
        if self._legacy is GET_STATUS:
            statuses = ["notfound" if job["status"] == "not found" else job["status"] for job in data]
            attempts = [str(job["attempt_number"]) for job in data]
            return {"StatusCode": 0, "status": ",".join(statuses), "attemptNr": ",".join(attempts)}
        return dict(data)


def add_routes(application: "falcon.App[Request, Response]", api: ApiV1) -> None:
    """Adds the legacy methods, and the answer to every other one."""
    application.add_route("/server/panda/isAlive", IsAlive())
    for name, legacy in (("getJob", GET_JOB), ("updateJob", UPDATE_JOB), ("getStatus", GET_STATUS)):
        application.add_route(f"/server/panda/{name}", OldMethod(api, legacy))

    def unknown(req: Request, resp: Response, **kwargs: Any) -> None:
        req.context.route = "/server/panda/other"
        forbid(resp, req.path.rpartition("/")[2])

    application.add_sink(unknown, prefix="/server/panda/")
