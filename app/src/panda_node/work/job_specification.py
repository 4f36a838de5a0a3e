"""The form in which clients submit jobs, and get them described: a job as the list of its attributes, by place."""

from typing import Any

from panda_node import untrusted
from panda_node.errors import RefusalError
from panda_node.work.splitting import MAX_COMMAND


def _words(text: str) -> list[str]:
    return text.split()


# The order in which released clients send them; a newer client may add some behind.
JOB_ATTRIBUTES = _words("""
    PandaID jobDefinitionID schedulerID pilotID creationTime creationHost modificationTime modificationHost
    AtlasRelease transformation homepackage prodSeriesLabel prodSourceLabel prodUserID assignedPriority
    currentPriority attemptNr maxAttempt jobStatus jobName maxCpuCount maxCpuUnit maxDiskCount maxDiskUnit
    ipConnectivity minRamCount minRamUnit startTime endTime cpuConsumptionTime cpuConsumptionUnit commandToPilot
    transExitCode pilotErrorCode pilotErrorDiag exeErrorCode exeErrorDiag supErrorCode supErrorDiag ddmErrorCode
    ddmErrorDiag brokerageErrorCode brokerageErrorDiag jobDispatcherErrorCode jobDispatcherErrorDiag
    taskBufferErrorCode taskBufferErrorDiag computingSite computingElement jobParameters metadata prodDBlock
    dispatchDBlock destinationDBlock destinationSE nEvents grid cloud cpuConversion sourceSite destinationSite
    transferType taskID cmtConfig stateChangeTime prodDBUpdateTime lockedby relocationFlag jobExecutionID VO
    pilotTiming workingGroup processingType prodUserName nInputFiles countryGroup batchID parentID specialHandling
    jobsetID coreCount nInputDataFiles inputFileType inputFileProject inputFileBytes nOutputDataFiles
    outputFileBytes jobMetrics workQueue_ID jediTaskID jobSubStatus actualCoreCount reqID maxRSS maxVMEM maxSWAP
    maxPSS avgRSS avgVMEM avgSWAP avgPSS maxWalltime nucleus eventService failedAttempt hs06sec gshare hs06 totRCHAR
    totWCHAR totRBYTES totWBYTES rateRCHAR rateWCHAR rateRBYTES rateWBYTES resource_type diskIO memory_leak
    memory_leak_x2 container_name job_label gco2_regional gco2_global cpu_architecture_level outputFileType
""")
FILE_ATTRIBUTES = _words("""
    rowID PandaID GUID lfn type dataset status prodDBlock prodDBlockToken dispatchDBlock dispatchDBlockToken
    destinationDBlock destinationDBlockToken destinationSE fsize md5sum checksum scope
""")
MAX_JOBS = 5000
MAX_FILES = 20_000
_NOTHING = ("NULL", "", None)


def read_jobs(text: str) -> list[dict[str, Any]]:
    """The jobs of a submission, as attributes by name without those that are not set; `Files` is a list of the same."""
    try:
        states = untrusted.read_json(text)
        untrusted.check(states)
    except ValueError as error:
        raise RefusalError(f"Failed to deserialize jobs: {error}") from error
    if not isinstance(states, list) or not all(isinstance(state, list) and state for state in states):
        raise RefusalError("Failed to deserialize jobs: must be a list of lists of attributes")
    if not states:
        raise RefusalError("No jobs were submitted")
    if len(states) > MAX_JOBS:
        raise RefusalError(f"{len(states)} jobs were submitted, {MAX_JOBS} at most can be at once")
    count = sum(len(state[-1]) for state in states if isinstance(state[-1], list))
    if count > MAX_FILES:
        raise RefusalError(f"{count} files were submitted, {MAX_FILES} at most can be at once")
    jobs = []
    for state in states:
        job = _by_name(JOB_ATTRIBUTES, state[:-1])
        if sum(len(str(value)) for value in job.values()) > MAX_COMMAND:
            raise RefusalError(f"the attributes of a job are longer than {MAX_COMMAND} characters")
        files = state[-1] if isinstance(state[-1], list) else []
        job["Files"] = [_by_name(FILE_ATTRIBUTES, file) for file in files if isinstance(file, list)]
        jobs.append(job)
    return jobs


def _by_name(names: list[str], values: list[Any]) -> dict[str, Any]:
    return {name: value for name, value in zip(names, values, strict=False) if value not in _NOTHING}
