"""Failures that a person can act on. Each has the exit code that the command line ends with."""

from collections.abc import Sequence


class PandaNodeError(Exception):
    """A failure whose text says what is wrong, where, and what to do."""

    exit_code = 1


class ConfigurationError(PandaNodeError):
    """The configuration cannot be used; carries every fault that was found, not only the first."""

    exit_code = 2

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = list(faults)


class SchemaMismatchError(PandaNodeError):
    """The database holds another schema than this release needs."""

    exit_code = 3


class DatabaseUnreachableError(PandaNodeError):
    """The database does not answer; trying again later may help."""

    exit_code = 4


class DatabaseReadOnlyError(DatabaseUnreachableError):
    """The database answers and takes no writes: a standby, or an operator's hand."""


class DatabaseRefusalError(PandaNodeError):
    """The database answered, and refused what was asked."""


class RefusalError(Exception):
    """What a client asked is not done; the answer is HTTP 200 with success false, as in the public package."""

    def __init__(self, message: str, data: object = None) -> None:
        super().__init__(message)
        self.data = data
