# SPDX-License-Identifier: Apache-2.0
"""Errors that only the fine-tuning service declares."""

from serving_network.contracts.errors.base import ChecksumAddress, DeclaredError


class CannotAbandonSettledDeliverable(DeclaredError):
    """A settled deliverable cannot be abandoned."""

    wire = ("CannotAbandonSettledDeliverable(string id)",)
    id: str
    problem = "The deliverable {id!r} is settled and can no longer be abandoned."
    remedy = "Nothing to do: it does not block the next one."


class CannotAcknowledgeSettledDeliverable(DeclaredError):
    """A settled deliverable cannot be acknowledged."""

    wire = ("CannotAcknowledgeSettledDeliverable(string id)",)
    id: str
    problem = "The deliverable {id!r} is settled and can no longer be acknowledged."
    remedy = "serving deliverable list USER PROVIDER"


class CannotEvictUnsettledDeliverable(DeclaredError):
    """The list of deliverables is full and its oldest one is not settled."""

    wire = ("CannotEvictUnsettledDeliverable(string id)",)
    id: str
    problem = "All 20 places for deliverables are taken, and the oldest deliverable, {id!r}, is not settled."
    remedy = "Settle or abandon {id!r}: serving deliverable settle --help"


class DeliverableAlreadyExists(DeclaredError):
    """A deliverable with this id already exists."""

    wire = ("DeliverableAlreadyExists(string id)",)
    id: str
    problem = "A deliverable with the id {id!r} already exists."
    remedy = "Choose another id."


class DeliverableAlreadySettled(DeclaredError):
    """The deliverable is already settled."""

    wire = ("DeliverableAlreadySettled(string id)",)
    id: str
    problem = "The deliverable {id!r} is already settled."
    remedy = "Nothing to do: a deliverable is settled only once."


class DeliverableIdInvalidLength(DeclaredError):
    """The id is empty or too long. In bytes."""

    wire = ("DeliverableIdInvalidLength(uint256 length)",)
    length: int
    problem = "The id has {length} bytes; 1 to 256 are allowed."
    remedy = "Choose an id of 1 to 256 bytes of UTF-8."


class DeliverableNotExists(DeclaredError):
    """No deliverable of this id."""

    wire = ("DeliverableNotExists(string id)",)
    id: str
    problem = "There is no deliverable {id!r} between this user and this provider."
    remedy = "serving deliverable list"


class ETHTransferFailed(DeclaredError):
    """The provider's wallet did not accept the coins."""

    wire = ("ETHTransferFailed()",)
    problem = "The provider's wallet did not accept the coins."
    remedy = "Use a wallet that can receive coins: a plain key, or a contract with a payable receive function."


class InvalidLedgerAddress(DeclaredError):
    """The ledger given has no code."""

    wire = ("InvalidLedgerAddress()",)
    problem = "The ledger's address has no code on this chain."
    remedy = "Deploy the ledger first: serving deploy --help"


class InvalidVerifierInput(DeclaredError):
    """A fine-tuning settlement was refused for the reason in a text. The known reasons have subclasses."""

    wire = ("InvalidVerifierInput(string reason)",)
    reason: str
    problem = "The settlement was refused: {reason}."
    remedy = "serving doctor"


class TEESignerNotAcknowledged(InvalidVerifierInput):
    """The owner has not confirmed the TEE signer, or the user has not acknowledged it."""

    reason: str = "TEE signer not acknowledged"
    problem = (
        "The settlement was refused: the TEE signer is not confirmed by the owner, or not acknowledged by the user."
    )
    remedy = "serving doctor"


class VerifierNonceTooLow(InvalidVerifierInput):
    """The nonce is not above the account's."""

    reason: str = "nonce should larger than the current nonce"
    problem = "The settlement was refused: its nonce is not greater than the account's last one."
    remedy = "Sign the settlement again with a larger nonce."


class VerifierBalanceTooLow(InvalidVerifierInput):
    """The account holds less than the fee."""

    reason: str = "insufficient balance"
    problem = "The settlement was refused: the account's balance is below the full fee."
    remedy = "The user runs: serving ledger fund PROVIDER AMOUNT --service fine-tuning"


class ModelRootHashMismatch(InvalidVerifierInput):
    """The settlement names another model than the deliverable."""

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
    """The user has not acknowledged the last deliverable yet."""

    wire = ("PreviousDeliverableNotAcknowledged(string id)",)
    id: str
    problem = "The previous deliverable, {id!r}, is neither acknowledged nor settled."
    remedy = "Wait for the user to acknowledge it, or run: serving deliverable abandon --help"


class SecretShouldBeEmpty(DeclaredError):
    """A secret for a deliverable that was not acknowledged."""

    wire = ("SecretShouldBeEmpty()",)
    problem = "The user has not acknowledged this deliverable: the settlement must not contain its secret."
    remedy = 'Sign the settlement again with an empty secret: "encryptedSecret": "0x".'


class SecretShouldNotBeEmpty(DeclaredError):
    """No secret for a deliverable that was acknowledged."""

    wire = ("SecretShouldNotBeEmpty()",)
    problem = "The user has acknowledged this deliverable: the settlement must contain its encrypted secret."
    remedy = "Sign the settlement again with the encrypted secret."


class TransferToLedgerFailed(DeclaredError):
    """The ledger refused returned coins."""

    wire = ("TransferToLedgerFailed()",)
    problem = "The ledger refused the coins that the service returned."
    remedy = "serving registry list"


class UserActionRequired(DeclaredError):
    """After a penalty the user must act before another one can be charged."""

    wire = ("UserActionRequired(address user, address provider)",)
    user: ChecksumAddress
    provider: ChecksumAddress
    problem = "{user} has paid a penalty to {provider} and has not acted since: no second penalty can be charged yet."
    remedy = "The user runs: serving ledger fund {provider} 0 --service fine-tuning"
