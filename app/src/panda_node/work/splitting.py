"""Makes the jobs of a task from its parameters, as released clients write them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from panda_node.errors import RefusalError
from panda_node.work.jobs import NO_LOOPING_CHECK, whole_number

MAX_JOBS = 20_000
# A task of a few kB must not grow into more than a daemon can hold.
MAX_PARTS = 500_000
"""Items of all jobs' parameters together."""
MAX_FILES = 100_000
"""Input files of all jobs together."""
MAX_JOB_FILES = 20_000
"""Files of one job, which pilots are told all at once."""
MAX_COMMAND = 100_000
"""Characters of one job's parameters, or of a file's name before it is cut."""
MAX_TEXT = 50_000_000
"""Characters of all jobs' parameters and specifications together."""
DEFAULT_ATTEMPTS = 3
MAX_ATTEMPTS = 100


@dataclass
class File:
    """A file that a job reads or makes."""

    type: str
    lfn: str
    dataset: str


@dataclass
class NewJob:
    """A job that is about to be stored; a setupper may change it."""

    serial: int
    parameters: str
    files: list[File] = field(default_factory=list)


@dataclass
class Plan:
    """What all jobs of a task have in common, and the jobs."""

    site: str
    transformation: str
    attempts: int
    cores: int
    memory: int
    disk: int
    jobs: list[NewJob]


def split(task_id: int, default_site: str | None, default_transformation: str, parameters: Mapping[str, Any]) -> Plan:
    """Reads the parameters; raises RefusalError with the reason why they make no jobs."""
    site = parameters.get("site") or default_site
    if not isinstance(site, str):
        raise RefusalError("no site is given: this server does not choose one")
    if parameters.get("buildSpec"):
        raise RefusalError("a build step is asked for, which this server does not do; submit with --noBuild")
    if parameters.get("mergeOutput"):
        raise RefusalError("merging is asked for, which this server does not do")
    items = parameters.get("jobParameters")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise RefusalError("jobParameters must be a list of objects")
    inputs = _inputs(parameters, items)
    per_job = max(1, whole_number(parameters, "nFilesPerJob", 1))
    count = ceil(len(inputs) / per_job) if inputs else _count(parameters)
    if count > MAX_JOBS:
        raise RefusalError(f"{count} jobs are asked for, {MAX_JOBS} at most are made")
    if count * len(items) > MAX_PARTS:
        raise RefusalError(
            f"{count} jobs of {len(items)} parameters are asked for, {MAX_PARTS} in all at most are made"
        )
    transformation = parameters.get("transPath") or default_transformation
    log = parameters.get("log")
    jobs, size = [], count * len(specification(parameters, ""))
    for serial in range(1, count + 1):
        mine = inputs[(serial - 1) * per_job : serial * per_job]
        fill = _Filling(task_id, serial, mine, str(parameters.get("sourceURL") or ""))
        job = NewJob(serial, fill.command(items))
        size += len(job.parameters)
        if size > MAX_TEXT:
            raise RefusalError(f"the jobs' parameters together are longer than {MAX_TEXT} characters")
        job.files += [File("input", lfn, dataset) for dataset, lfn in mine]
        for item in [*items, *([log] if isinstance(log, dict) else [])]:
            if item.get("param_type") in ("output", "log"):
                name = fill.text(str(item.get("value") or ""))
                if name and not name.startswith("regex|"):
                    job.files.append(File(item["param_type"], name[:512], str(item.get("dataset") or "")[:512]))
        if len(job.files) > MAX_JOB_FILES:
            raise RefusalError(
                f"a job of {len(job.files)} files is asked for, {MAX_JOB_FILES} at most are given to one"
            )
        jobs.append(job)
    return Plan(
        site=site[:100],
        transformation=str(transformation)[:500],
        attempts=min(MAX_ATTEMPTS, max(1, whole_number(parameters, "maxAttempt", DEFAULT_ATTEMPTS))),
        cores=cores_of(parameters),
        memory=memory_of(parameters),
        disk=max(0, whole_number(parameters, "outDiskCount", 0)),
        jobs=jobs,
    )


def cores_of(parameters: Mapping[str, Any]) -> int:
    """Cores of a task's job."""
    return max(1, whole_number(parameters, "coreCount", 1))


def memory_of(parameters: Mapping[str, Any]) -> int:
    """MB of a task's whole job, which released clients say for each of its cores."""
    memory = max(0, whole_number(parameters, "ramCount", 0))
    if parameters.get("ramUnit", parameters.get("ramCountUnit")) in ("MBPerCore", "MBPerCoreFixed"):
        return memory * cores_of(parameters) + max(0, whole_number(parameters, "baseRamCount", 0))
    return memory


def _count(parameters: Mapping[str, Any]) -> int:
    """How many jobs without input files."""
    events, per_job = whole_number(parameters, "nEvents", 0), whole_number(parameters, "nEventsPerJob", 1)
    if events > 0 and per_job > 0:
        return ceil(events / per_job)
    return max(1, whole_number(parameters, "nFiles", 1))


def _inputs(parameters: Mapping[str, Any], items: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Data set and name of each input file. Files have to be named: there is no data catalogue here, unless a setupper
    asks one and writes what it finds into `files`."""
    dataset, names = "", parameters.get("pfnList")
    if not isinstance(names, list):
        item = next((item for item in items if item.get("param_type") == "input"), None)
        if item is None:
            return []
        dataset, names = str(item.get("dataset") or "")[:512], item.get("files")
        if not isinstance(names, list) or not names:
            raise RefusalError(f"the files of {item.get('dataset')} are not named, and there is no data catalogue")
    if len(names) > MAX_FILES:
        raise RefusalError(f"{len(names)} input files are named, {MAX_FILES} at most can be")
    return [(dataset, str(name)[:512]) for name in names]


class _Filling:
    """Puts one job's values in the place of ${...}."""

    def __init__(self, task_id: int, serial: int, inputs: list[tuple[str, str]], source: str) -> None:
        names = ",".join(name for _, name in inputs)
        self._values = {
            "$JEDITASKID": str(task_id),
            "${JEDITASKID}": str(task_id),
            "${SN}": f"{serial:06d}",
            "${SN/P}": f"{serial:06d}",
            "${SURL}": source,
            "${IN}": names,
            "${IN/T}": names,
            "${RNDMSEED}": str(serial),
            "${SEQNUMBER}": str(serial),
        }
        self._pattern = re.compile("|".join(re.escape(name) for name in self._values))

    def text(self, template: str) -> str:
        size = len(template)

        def value(match: re.Match[str]) -> str:
            nonlocal size
            size += len(self._values[match[0]])
            if size > MAX_COMMAND:
                raise RefusalError(f"the parameters of a job are longer than {MAX_COMMAND} characters")
            return self._values[match[0]]

        return self._pattern.sub(value, template)

    def command(self, items: list[dict[str, Any]]) -> str:
        """The job's parameters: what is not hidden, parted by blanks unless an item wants none behind it."""
        text = ""
        for item in items:
            if not item.get("hidden"):
                text += self.text(str(item.get("value") or "")) + ("" if item.get("padding") is False else " ")
                if len(text) > MAX_COMMAND:
                    raise RefusalError(f"the parameters of a job are longer than {MAX_COMMAND} characters")
        return text.strip()


def specification(parameters: Mapping[str, Any], user_name: str) -> str:
    """What pilots and people are told about each job, beside the columns."""
    names = ("processingType", "cloud", "transferType", "vo", "workingGroup", "container_name")
    known = {name: parameters[name] for name in names if parameters.get(name) is not None}
    if (hours := whole_number(parameters, "maxWalltime")) > 0:
        known["maxWalltime"] = hours * 3600
    if parameters.get("noLoopingCheck"):
        known["specialHandling"] = NO_LOOPING_CHECK
    return json.dumps({**known, "prodUserID": user_name})
