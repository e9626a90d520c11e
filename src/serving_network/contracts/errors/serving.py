# SPDX-License-Identifier: Apache-2.0
"""Errors that both services declare, and those that all three contracts share."""

from serving_network.contracts.errors.base import ChecksumAddress, DeclaredError, Seconds, Wei


class AccountExists(DeclaredError):
    """This user already has an account with this provider."""

    wire = ("AccountExists(address user, address provider)",)
    user: ChecksumAddress
    provider: ChecksumAddress
    problem = "{user} already has an account with {provider}."
    remedy = "serving account show {user}"


class AccountNotEmpty(DeclaredError):
    """An account that holds coins cannot be deleted. Amount in wei."""

    wire = ("AccountNotEmpty(address user, address provider, uint256 balance)",)
    user: ChecksumAddress
    provider: ChecksumAddress
    balance: Wei
    problem = "The account of {user} with {provider} still holds {balance}."
    remedy = "serving ledger retrieve {provider}"


class AccountNotExists(DeclaredError):
    """This user has no account with this provider."""

    wire = ("AccountNotExists(address user, address provider)",)
    user: ChecksumAddress
    provider: ChecksumAddress
    problem = "{user} has no account with the provider {provider}."
    remedy = "serving ledger fund {provider} AMOUNT"


class AdditionalInfoTooLong(DeclaredError):
    """The additional information is longer than the contract stores. The services do not report the length."""

    wire = ("AdditionalInfoTooLong(uint256 length, uint256 max)", "AdditionalInfoTooLong()")
    length: int | None = None
    max: int | None = None
    problem = "The additional information is longer than the 4096 bytes that the contract stores."
    remedy = "Shorten it to 4096 bytes of UTF-8."


class AlreadyInitialized(DeclaredError):
    """The contract is already initialised."""

    wire = ("AlreadyInitialized()",)
    problem = "The contract is already initialised, or is an implementation that cannot be initialised."
    remedy = "Nothing to do: its owner and settings are unchanged."


class AmountTooLarge(DeclaredError):
    """The amount exceeds what the contract can store. Amounts in wei."""

    wire = ("AmountTooLarge(uint256 amount, uint256 max)",)
    amount: Wei
    max: Wei
    problem = "{amount} is more than the {max} that the contract can hold."
    remedy = "Use a smaller amount: this exceeds the supply of coins."


class BatchSizeTooLarge(DeclaredError):
    """More users in one query than the service accepts."""

    wire = ("BatchSizeTooLarge(uint256 size, uint256 max)",)
    size: int
    max: int
    problem = "The query names {size} users; the service accepts at most {max}."
    remedy = "Query at most {max} users at a time."


class CallerNotLedger(DeclaredError):
    """Only the ledger may do this."""

    wire = ("CallerNotLedger(address caller)", "CallerNotLedger()")
    caller: ChecksumAddress | None = None
    problem = "Only the ledger may call this function of a service."
    remedy = "Call the ledger instead: serving ledger --help"


class CannotAddStakeWhenUpdating(DeclaredError):
    """An update of a service does not accept coins."""

    wire = ("CannotAddStakeWhenUpdating()",)
    problem = "The service is already registered, and an update does not accept coins."
    remedy = "Send no coins with an update: serving service update"


class CannotRevokeWithNonZeroBalance(DeclaredError):
    """An acknowledgement cannot be revoked while the account holds coins. Amount in wei."""

    wire = ("CannotRevokeWithNonZeroBalance(address user, address provider, uint256 balance)",)
    user: ChecksumAddress
    provider: ChecksumAddress
    balance: Wei
    problem = "The account of {user} with {provider} holds {balance}. To revoke the acknowledgement, empty it first."
    remedy = "serving ledger retrieve {provider}"


class DirectDepositsDisabled(DeclaredError):
    """Coins were sent without a call."""

    wire = ("DirectDepositsDisabled()",)
    problem = "The contract does not accept plain transfers of coins."
    remedy = "serving ledger deposit AMOUNT"


class InsufficientStake(DeclaredError):
    """The stake of a new provider is too small. Amounts in wei."""

    wire = ("InsufficientStake(uint256 provided, uint256 required)",)
    provided: Wei
    required: Wei
    problem = "The stake of {provided} is below the minimum of {required}."
    remedy = 'serving service register --stake "{required}"'


class InvalidAddress(DeclaredError):
    """An address that cannot be a user or a provider."""

    wire = ("InvalidAddress(address addr)",)
    addr: ChecksumAddress
    problem = "{addr} cannot be a user or a provider."
    remedy = "serving service list"


class LimitTooLarge(DeclaredError):
    """The page is larger than the service returns. Fine-tuning does not report the maximum."""

    wire = ("LimitTooLarge(uint256 limit, uint256 max)", "LimitTooLarge(uint256 limit)")
    limit: int
    max: int = 50
    problem = "A page of {limit} entries was requested; the service returns at most {max}."
    remedy = "Request pages of {max}, as the clients of this package do."


class LockTimeOutOfRange(DeclaredError):
    """The lock time is outside its bounds. In seconds."""

    wire = ("LockTimeOutOfRange(uint256 lockTime, uint256 min, uint256 max)", "LockTimeOutOfRange(uint256 lockTime)")
    lockTime: Seconds
    min: Seconds = Seconds(3600)
    max: Seconds = Seconds(7 * 86400)
    problem = "A lock time of {lockTime} is outside the range of {min} to {max}."
    remedy = "serving setting lock-time HOURS"


class PayoutInProgress(DeclaredError):
    """The service was called again during one of its own payouts."""

    wire = ("PayoutInProgress()",)
    problem = "The service was called from inside one of its own payouts."
    remedy = "Make the calls one after the other: a recipient of coins must not call the service."


class ProviderCannotBeUser(DeclaredError):
    """A provider cannot be its own user."""

    wire = ("ProviderCannotBeUser()",)
    problem = "A provider cannot have an account with itself."
    remedy = "Use another key for the user."


class ServiceNotExist(DeclaredError):
    """This provider has registered no service."""

    wire = ("ServiceNotExist(address provider)",)
    provider: ChecksumAddress
    problem = "The provider {provider} has not registered a service here."
    remedy = "serving service list"


class TextTooLong(DeclaredError):
    """The text is longer than the contract stores. In bytes."""

    wire = ("TextTooLong(uint256 length, uint256 max)",)
    length: int
    max: int
    problem = "The text has {length} bytes; the contract stores at most {max}."
    remedy = "Shorten it to {max} bytes of UTF-8."


class TooManyItems(DeclaredError):
    """The list is longer than the contract accepts."""

    wire = ("TooManyItems(uint256 count, uint256 max)",)
    count: int
    max: int
    problem = "The list has {count} entries; the contract accepts at most {max}."
    remedy = "Shorten the list to {max} entries."


class TooManyRefunds(DeclaredError):
    """The account has the maximum number of pending refunds."""

    wire = ("TooManyRefunds(address user, address provider)",)
    user: ChecksumAddress
    provider: ChecksumAddress
    problem = "{user} already has five pending refunds from {provider}, which is the maximum."
    remedy = "Wait until the oldest one unlocks: serving account show {user}"


class TransferFailed(DeclaredError):
    """The receiver refused the coins."""

    wire = ("TransferFailed()",)
    problem = "The recipient did not accept the coins."
    remedy = "Use a wallet that can receive coins: a plain key, or a contract with a payable receive function."


class UnexpectedTEESigner(DeclaredError):
    """The provider has another TEE signer than the one that the owner meant to confirm."""

    wire = ("UnexpectedTEESigner(address provider, address expected, address actual)",)
    provider: ChecksumAddress
    expected: ChecksumAddress
    actual: ChecksumAddress
    problem = "The TEE signer of {provider} is {actual}, not {expected}: the provider has changed it in the meantime."
    remedy = "serving signer waiting"
