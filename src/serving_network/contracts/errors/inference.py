# SPDX-License-Identifier: Apache-2.0
"""Errors that only the inference service declares."""

from serving_network.contracts.errors.base import DeclaredError


class InvalidTEESignature(DeclaredError):
    """Declared by the wire format, but not raised by any contract."""

    wire = ("InvalidTEESignature(string reason)",)
    reason: str
    problem = "The TEE signature was refused: {reason}."
    remedy = "serving doctor"


class NoSettlementsProvided(DeclaredError):
    """The batch has no settlements."""

    wire = ("NoSettlementsProvided()",)
    problem = "The batch has no settlements."
    remedy = "serving settle USAGE"


class TooManySettlements(DeclaredError):
    """The batch is longer than the service accepts."""

    wire = ("TooManySettlements(uint256 count, uint256 max)",)
    count: int
    max: int
    problem = "The batch has {count} settlements; the service accepts at most {max}."
    remedy = "Split the batch, as `serving settle` does."
