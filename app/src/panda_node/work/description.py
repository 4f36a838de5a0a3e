"""A job as clients read it: the attributes of the public package's JobSpec."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from panda_node.work.job_specification import FILE_ATTRIBUTES, JOB_ATTRIBUTES
from panda_node.work.jobs import as_time


def described(job: Row[Any], files: Sequence[Row[Any]]) -> dict[str, object]:
    """Every attribute by name, null where there is none, and `Files`."""
    measures = json.loads(job.measures or "{}")
    known = {
        "PandaID": job.job_id,
        "jediTaskID": job.task_id,
        "taskID": job.task_id,
        "reqID": job.task_id,
        "jobName": job.name,
        "jobStatus": job.status,
        "jobSubStatus": job.sub_status,
        "prodSourceLabel": job.label,
        "prodUserName": job.user_name,
        "computingSite": job.site,
        "attemptNr": job.attempt,
        "maxAttempt": job.max_attempts,
        "currentPriority": job.priority,
        "resource_type": job.resource_type,
        "coreCount": job.cores,
        "minRamCount": job.memory,
        "maxDiskCount": job.disk,
        "transformation": job.transformation,
        "jobParameters": job.parameters,
        "commandToPilot": job.command,
        "modificationHost": job.node,
        "pilotID": job.pilot_id,
        "batchID": job.batch_id,
        "schedulerID": job.scheduler_id,
        "transExitCode": job.exit_code,
        "creationTime": as_time(job.created),
        "modificationTime": as_time(job.modified),
        "stateChangeTime": as_time(job.modified),
        "startTime": as_time(job.started),
        "endTime": as_time(job.ended),
        **_errors(job, measures),
    }
    said = {**json.loads(job.specification or "{}"), **measures}
    return {
        **{name: known.get(name, said.get(name)) for name in JOB_ATTRIBUTES},
        "Files": [_file(job, file) for file in files],
    }


def _errors(job: Row[Any], measures: Mapping[str, object]) -> dict[str, object]:
    names = {"pilot": "pilotError", "payload": "exeError", "ddm": "ddmError", "server": "taskBufferError"}
    errors: dict[str, object] = {f"{name}Code": measures.get(f"{name}Code", 0) for name in names.values()}
    if job.error_source in names:
        name = names[job.error_source]
        errors |= {f"{name}Code": job.error_code or 1, f"{name}Diag": job.error_text}
    return errors


def _file(job: Row[Any], file: Row[Any]) -> dict[str, object]:
    known = {
        "rowID": file.file_id,
        "PandaID": job.job_id,
        "GUID": file.guid,
        "lfn": file.lfn,
        "type": file.type,
        "dataset": file.dataset,
        "destinationDBlock": file.dataset,
        "status": file.status,
        "fsize": file.size,
        "checksum": file.checksum,
        "scope": file.scope,
    }
    return {name: known.get(name) for name in FILE_ATTRIBUTES}
