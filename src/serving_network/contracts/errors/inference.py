"""Errors that only the inference service declares."""

from serving_network.contracts.errors.base import DeclaredError


class InvalidTEESignature(DeclaredError):
    """Declared by the wire format and raised by no contract."""

    wire = ("InvalidTEESignature(string reason)",)
    reason: str
    problem = "The TEE signature was refused: {reason}."
    remedy = "serving doctor"


class NoSettlementsProvided(DeclaredError):
    """A batch without settlements."""

    wire = ("NoSettlementsProvided()",)
    problem = "The batch holds no settlement."
    remedy = "serving settle USAGE"


class TooManySettlements(DeclaredError):
    """A batch longer than the service takes."""

    wire = ("TooManySettlements(uint256 count, uint256 max)",)
    count: int
    max: int
    problem = "A batch of {count} settlements, where the service takes {max}."
    remedy = "Split the batch; `serving settle` does that by itself."
