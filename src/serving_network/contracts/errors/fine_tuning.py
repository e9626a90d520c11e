# SPDX-License-Identifier: Apache-2.0
"""Errors that only the fine-tuning service declares."""

from serving_network.contracts.errors.base import ChecksumAddress, DeclaredError


class CannotAbandonSettledDeliverable(DeclaredError):
    """A settled deliverable cannot be abandoned."""

    wire = ("CannotAbandonSettledDeliverable(string id)",)
    id: str
    problem = "The deliverable {id!r} is settled and can no longer be abandoned."
    remedy = "Nothing to do: it does not block the next deliverable."


class CannotAcknowledgeSettledDeliverable(DeclaredError):
    """A settled deliverable cannot be acknowledged."""

    wire = ("CannotAcknowledgeSettledDeliverable(string id)",)
    id: str
    problem = "The deliverable {id!r} is settled and can no longer be acknowledged."
    remedy = "serving deliverable list"


class CannotEvictUnsettledDeliverable(DeclaredError):
    """The list of deliverables is full and the oldest one is not settled."""

    wire = ("CannotEvictUnsettledDeliverable(string id)",)
    id: str
    problem = "All 20 places for deliverables are taken, and the oldest deliverable, {id!r}, is not settled."
    remedy = "Settle or abandon {id!r}: serving deliverable settle --help"


class DeliverableAlreadyExists(DeclaredError):
    """A deliverable with this id already exists."""

    wire = ("DeliverableAlreadyExists(string id)",)
    id: str
    problem = "A deliverable {id!r} already exists."
    remedy = "Choose another id."


class DeliverableAlreadySettled(DeclaredError):
    """The deliverable is already settled."""

    wire = ("DeliverableAlreadySettled(string id)",)
    id: str
    problem = "The deliverable {id!r} is already settled."
    remedy = "Nothing to do: it was paid and cannot be paid again."


class DeliverableIdInvalidLength(DeclaredError):
    """The id is empty or too long. `length` is in bytes."""

    wire = ("DeliverableIdInvalidLength(uint256 length)",)
    length: int
    problem = "The id has {length} bytes, but must have 1 to 256."
    remedy = "Choose an id of 1 to 256 bytes of UTF-8."


class DeliverableNotExists(DeclaredError):
    """There is no deliverable with this id."""

    wire = ("DeliverableNotExists(string id)",)
    id: str
    problem = "There is no deliverable {id!r} between this user and this provider."
    remedy = "serving deliverable list"


class ETHTransferFailed(DeclaredError):
    """The provider's wallet did not accept the payment."""

    wire = ("ETHTransferFailed()",)
    problem = "The provider's wallet did not accept the payment."
    remedy = "Use a wallet that can receive coins: a plain key, or a contract with a payable receive function."


class InvalidLedgerAddress(DeclaredError):
    """The ledger's address has no code."""

    wire = ("InvalidLedgerAddress()",)
    problem = "The ledger's address has no code on this chain."
    remedy = "Deploy the ledger first: serving deploy --help"


class InvalidVerifierInput(DeclaredError):
    """A fine-tuning settlement was refused for the reason in a message. The known reasons have subclasses."""

    wire = ("InvalidVerifierInput(string reason)",)
    reason: str
    problem = "The settlement was refused: {reason}."
    remedy = "serving doctor"


class TEESignerNotAcknowledged(InvalidVerifierInput):
    """The user has not acknowledged the TEE signer, or the owner has not confirmed it."""

    reason: str = "TEE signer not acknowledged"
    problem = (
        "The settlement was refused: the user has not acknowledged the TEE signer, or the owner has not confirmed it."
    )
    remedy = "serving doctor"


class VerifierNonceTooLow(InvalidVerifierInput):
    """The nonce is not greater than the account's."""

    reason: str = "nonce should larger than the current nonce"
    problem = "The settlement was refused: its nonce is not greater than the last one of this account."
    remedy = "Sign the settlement again with a larger nonce."


class VerifierBalanceTooLow(InvalidVerifierInput):
    """The account's balance is below the fee."""

    reason: str = "insufficient balance"
    problem = "The settlement was refused: the account's balance is below the full fee."
    remedy = "The user runs: serving ledger fund PROVIDER AMOUNT --service fine-tuning"


class ModelRootHashMismatch(InvalidVerifierInput):
    """The settlement is for another model than the deliverable."""

    reason: str = "model root hash mismatch"
    problem = "The settlement was refused: its model root hash differs from the deliverable's."
    remedy = "serving deliverable show --help"


class VerifierSignatureInvalid(InvalidVerifierInput):
    """The signature is not the TEE signer's."""

    reason: str = "TEE settlement validation failed"
    problem = "The settlement was refused: it is not signed by the service's TEE signer."
    remedy = "serving service show"


class PenaltyPercentageTooHigh(DeclaredError):
    """A penalty above the full fee. `percentage` is in percent."""

    wire = ("PenaltyPercentageTooHigh(uint256 percentage)",)
    percentage: int
    problem = "A penalty of {percentage} % is more than the full fee."
    remedy = "serving setting penalty 30"


class PreviousDeliverableNotAcknowledged(DeclaredError):
    """The user has not acknowledged the previous deliverable yet."""

    wire = ("PreviousDeliverableNotAcknowledged(string id)",)
    id: str
    problem = "The previous deliverable, {id!r}, is neither acknowledged nor settled."
    remedy = "Wait for the user to acknowledge it, or run: serving deliverable abandon --help"


class SecretShouldBeEmpty(DeclaredError):
    """The settlement contains a secret, but the deliverable is not acknowledged."""

    wire = ("SecretShouldBeEmpty()",)
    problem = "The user has not acknowledged this deliverable, so its settlement must not contain a secret."
    remedy = "Sign the settlement again with an empty secret."


class SecretShouldNotBeEmpty(DeclaredError):
    """The settlement contains no secret, but the deliverable is acknowledged."""

    wire = ("SecretShouldNotBeEmpty()",)
    problem = "The user has acknowledged this deliverable, so its settlement must contain the encrypted secret."
    remedy = "Sign the settlement again with the encrypted secret."


class TransferToLedgerFailed(DeclaredError):
    """The ledger refused a refund."""

    wire = ("TransferToLedgerFailed()",)
    problem = "The ledger refused the refund that the service sent."
    remedy = "serving version list"


class UserActionRequired(DeclaredError):
    """After a penalty the user must act before the next penalty can be taken."""

    wire = ("UserActionRequired(address user, address provider)",)
    user: ChecksumAddress
    provider: ChecksumAddress
    problem = "{user} paid a penalty to {provider} and has not acted since, so no second penalty can be taken."
    remedy = "The user runs: serving ledger fund {provider} 0 --service fine-tuning"
