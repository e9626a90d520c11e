"""Errors that both services declare, and those that all three contracts share."""

from serving_network.contracts.errors.base import ChecksumAddress, DeclaredError, Seconds, Wei


class AccountExists(DeclaredError):
    """This user has an account with this provider already."""

    wire = ("AccountExists(address user, address provider)",)
    user: ChecksumAddress
    provider: ChecksumAddress
    problem = "{user} has an account with {provider} already."
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
    """The additional information is longer than the contract stores (the services do not say how long)."""

    wire = ("AdditionalInfoTooLong(uint256 length, uint256 max)", "AdditionalInfoTooLong()")
    length: int | None = None
    max: int | None = None
    problem = "The additional information is longer than the 4096 bytes that the contract stores."
    remedy = "Shorten it to 4096 bytes of UTF-8."


class AlreadyInitialized(DeclaredError):
    """The contract is set up already."""

    wire = ("AlreadyInitialized()",)
    problem = "The contract is initialised already, or is an implementation that never will be."
    remedy = "Nothing is to be done: its owner and settings stand."


class AmountTooLarge(DeclaredError):
    """An amount past what the contract can store. Amounts in wei."""

    wire = ("AmountTooLarge(uint256 amount, uint256 max)",)
    amount: Wei
    max: Wei
    problem = "{amount} is more than the {max} that the contract can hold."
    remedy = "Use a smaller amount: this is more than all coins there are."


class BatchSizeTooLarge(DeclaredError):
    """More users in one question than the service answers."""

    wire = ("BatchSizeTooLarge(uint256 size, uint256 max)",)
    size: int
    max: int
    problem = "{size} users in one question, where the service answers {max}."
    remedy = "Ask in parts of {max}."


class CallerNotLedger(DeclaredError):
    """Only the ledger may do this."""

    wire = ("CallerNotLedger(address caller)", "CallerNotLedger()")
    caller: ChecksumAddress | None = None
    problem = "Only the ledger may call this function of a service."
    remedy = "Go through the ledger: serving ledger --help"


class CannotAddStakeWhenUpdating(DeclaredError):
    """An update of a service takes no coins."""

    wire = ("CannotAddStakeWhenUpdating()",)
    problem = "The service is registered already, and an update takes no coins."
    remedy = "serving service update"


class CannotRevokeWithNonZeroBalance(DeclaredError):
    """An acknowledgement stays while the account holds coins. Amount in wei."""

    wire = ("CannotRevokeWithNonZeroBalance(address user, address provider, uint256 balance)",)
    user: ChecksumAddress
    provider: ChecksumAddress
    balance: Wei
    problem = "The account of {user} with {provider} holds {balance}: the acknowledgement stays while it does."
    remedy = "serving ledger retrieve {provider}"


class DirectDepositsDisabled(DeclaredError):
    """Coins were sent without a call."""

    wire = ("DirectDepositsDisabled()",)
    problem = "The contract takes no plain transfers of coins."
    remedy = "serving ledger deposit AMOUNT"


class InsufficientStake(DeclaredError):
    """The stake of a new provider is too small. Amounts in wei."""

    wire = ("InsufficientStake(uint256 provided, uint256 required)",)
    provided: Wei
    required: Wei
    problem = "A stake of {provided} was given, and the service asks for at least {required}."
    remedy = 'serving service register --stake "{required}"'


class InvalidAddress(DeclaredError):
    """An address that cannot be a user or a provider."""

    wire = ("InvalidAddress(address addr)",)
    addr: ChecksumAddress
    problem = "{addr} cannot be a user or a provider."
    remedy = "serving service list"


class LimitTooLarge(DeclaredError):
    """A page larger than the service gives out (fine-tuning does not say how large)."""

    wire = ("LimitTooLarge(uint256 limit, uint256 max)", "LimitTooLarge(uint256 limit)")
    limit: int
    max: int = 50
    problem = "A page of {limit} entries was asked for, and the service gives out {max} at most."
    remedy = "Ask for pages of {max}; the clients of this package do."


class LockTimeOutOfRange(DeclaredError):
    """The lock time is outside its bounds. In seconds."""

    wire = ("LockTimeOutOfRange(uint256 lockTime, uint256 min, uint256 max)", "LockTimeOutOfRange(uint256 lockTime)")
    lockTime: Seconds
    min: Seconds = Seconds(3600)
    max: Seconds = Seconds(7 * 86400)
    problem = "A lock time of {lockTime} is outside {min} to {max}."
    remedy = "serving setting lock-time HOURS"


class PayoutInProgress(DeclaredError):
    """The service was entered a second time while it was paying somebody out."""

    wire = ("PayoutInProgress()",)
    problem = "The service was called from inside one of its own payouts."
    remedy = "Make one call after the other: the receiver of coins must not call the service back."


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
    """A text past the bound that the contract stores. In bytes."""

    wire = ("TextTooLong(uint256 length, uint256 max)",)
    length: int
    max: int
    problem = "A text of {length} bytes, where the contract stores {max}."
    remedy = "Shorten it to {max} bytes of UTF-8."


class TooManyItems(DeclaredError):
    """A list longer than the contract takes."""

    wire = ("TooManyItems(uint256 count, uint256 max)",)
    count: int
    max: int
    problem = "A list of {count} entries, where the contract takes {max}."
    remedy = "Shorten the list to {max} entries."


class TooManyRefunds(DeclaredError):
    """As many refunds are waiting as an account holds."""

    wire = ("TooManyRefunds(address user, address provider)",)
    user: ChecksumAddress
    provider: ChecksumAddress
    problem = "Five refunds of {user} from {provider} are waiting, and no more can be asked for."
    remedy = "Wait until the oldest unlocks: serving account show {user}"


class TransferFailed(DeclaredError):
    """The receiver refused the coins."""

    wire = ("TransferFailed()",)
    problem = "The receiver of the coins refused them."
    remedy = "Use a wallet that can receive coins: a plain key, or a contract with a payable receive function."


class UnexpectedTEESigner(DeclaredError):
    """The provider has another TEE signer than the owner meant to confirm."""

    wire = ("UnexpectedTEESigner(address provider, address expected, address actual)",)
    provider: ChecksumAddress
    expected: ChecksumAddress
    actual: ChecksumAddress
    problem = "The TEE signer of {provider} is {actual}, not {expected}: it was changed in the meantime."
    remedy = "serving signer waiting"
