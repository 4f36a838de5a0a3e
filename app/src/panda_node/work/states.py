"""The states of tasks and jobs, named as in the public package."""

# Jobs, in the order of their life.
ACTIVATED = "activated"  # waits for a pilot
SENT = "sent"  # a pilot has it
STARTING = "starting"
RUNNING = "running"
TRANSFERRING = "transferring"
HOLDING = "holding"  # the pilot is done, the adder has not looked at it yet
FINISHED = "finished"
FAILED = "failed"
CANCELLED = "cancelled"

WITH_PILOT = (SENT, STARTING, RUNNING, TRANSFERRING)
ACTIVE = (ACTIVATED, *WITH_PILOT, HOLDING)
FINAL = (FINISHED, FAILED, CANCELLED)

# Tasks; finished, failed and running are called as for jobs.
REGISTERED = "registered"  # not split into jobs yet
FINISHING = "finishing"  # gets no new attempts any more
ABORTING = "aborting"  # waits for its last pilots
ABORTED = "aborted"
BROKEN = "broken"  # its parameters make no jobs
OBSOLETE = "obsolete"  # ended long ago, and is being deleted

TASK_ACTIVE = (REGISTERED, RUNNING, FINISHING, ABORTING)
TASK_FINAL = (FINISHED, FAILED, ABORTED, BROKEN)
