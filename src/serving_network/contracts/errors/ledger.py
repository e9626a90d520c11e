"""Errors of the LedgerManager."""

from serving_network.contracts.errors.base import ChecksumAddress, DeclaredError, Wei


class CallFailed(DeclaredError):
    """A service refused without giving a reason."""

    wire = ("CallFailed()",)
    problem = "The service refused the ledger's call and gave no reason."
    remedy = "serving doctor"


class CallerNotRegisteredService(DeclaredError):
    """Only a registered service may report spending."""

    wire = ("CallerNotRegisteredService(address caller)",)
    caller: ChecksumAddress
    problem = "{caller} is not a registered service, and only those may report what was spent."
    remedy = "serving registry list"


class InsufficientAvailableBalance(DeclaredError):
    """The ledger has less available than is to be moved. Amounts in wei."""

    wire = ("InsufficientAvailableBalance(uint256 available, uint256 required)",)
    available: Wei
    required: Wei
    problem = "The ledger has {available} available, and {required} are needed."
    remedy = "serving ledger deposit AMOUNT"


class InsufficientBalance(DeclaredError):
    """More is to be withdrawn than the ledger has available."""

    wire = ("InsufficientBalance(address user)",)
    user: ChecksumAddress
    problem = "The ledger of {user} has less available than is to be withdrawn."
    remedy = "serving account show {user}"


class InvalidServiceAddress(DeclaredError):
    """The zero address cannot be registered as a service."""

    wire = ("InvalidServiceAddress(address serviceAddress)",)
    serviceAddress: ChecksumAddress
    problem = "{serviceAddress} cannot be registered as a service."
    remedy = "serving registry register --help"


class InvalidServiceType(DeclaredError):
    """Declared by the wire format and raised by no contract."""

    wire = ("InvalidServiceType(string serviceType)",)
    serviceType: str
    problem = "The network has no service type {serviceType!r}."
    remedy = "serving registry list"


class LedgerExists(DeclaredError):
    """The user has a ledger already."""

    wire = ("LedgerExists(address user)",)
    user: ChecksumAddress
    problem = "{user} has a ledger already."
    remedy = "serving ledger deposit AMOUNT"


class LedgerLocked(DeclaredError):
    """The ledger was entered a second time while one of its own calls was running."""

    wire = ("LedgerLocked()",)
    problem = "Another operation on this ledger was still running when this one was called."
    remedy = "Make one call after the other, not one from inside the other."


class LedgerNotExists(DeclaredError):
    """The user has no ledger."""

    wire = ("LedgerNotExists(address user)",)
    user: ChecksumAddress
    problem = "{user} has no ledger."
    remedy = "serving ledger open AMOUNT"


class MinimumDepositRequired(DeclaredError):
    """Less than the minimum was given, or would remain. Amounts in wei."""

    wire = ("MinimumDepositRequired(uint256 provided, uint256 required)",)
    provided: Wei
    required: Wei
    problem = "{provided} is below the minimum of {required} that must be moved in, or stay available."
    remedy = "Use {required} or more; to take out everything: serving ledger withdraw all"


class MustWithdrawAllFundsFirst(DeclaredError):
    """A ledger that still holds coins cannot be deleted. Amount in wei."""

    wire = ("MustWithdrawAllFundsFirst(uint256 remainingBalance)",)
    remainingBalance: Wei
    problem = "The ledger still holds {remainingBalance}, here or with providers, and cannot be deleted."
    remedy = "serving ledger retrieve --all, and after the lock time: serving ledger withdraw all"


class NoRecommendedService(DeclaredError):
    """No version of this service type is recommended."""

    wire = ("NoRecommendedService(string serviceType)",)
    serviceType: str
    problem = "No version of {serviceType!r} is recommended."
    remedy = "serving registry list"


class RefundMismatch(DeclaredError):
    """A service reported other coins than it sent. Amounts in wei."""

    wire = ("RefundMismatch(uint256 received, uint256 reported)",)
    received: Wei
    reported: Wei
    problem = "The service sent {received} home but reported {reported}; the ledger believes neither."
    remedy = "Tell the network's owner: this service must not stay registered."


class ServiceAlreadyRegistered(DeclaredError):
    """This address is registered already."""

    wire = ("ServiceAlreadyRegistered(address serviceAddress)",)
    serviceAddress: ChecksumAddress
    problem = "{serviceAddress} is registered already."
    remedy = "serving registry list"


class ServiceMustImplementIServing(DeclaredError):
    """The address does not answer as a service."""

    wire = ("ServiceMustImplementIServing(address serviceAddress)",)
    serviceAddress: ChecksumAddress
    problem = "{serviceAddress} is not a service: it does not answer to the serving interface 0x160841b1."
    remedy = "Register the address of a service's front, not of its implementation or its beacon."


class ServiceNotAnswering(DeclaredError):
    """A service does not say what it holds, so that nothing that depends on it is done."""

    wire = ("ServiceNotAnswering(address service)",)
    service: ChecksumAddress
    problem = "The service {service} does not answer, so the ledger cannot know that nothing is left in it."
    remedy = "Try again later; if it stays so, tell the network's owner: serving health"


class ServiceNameExists(DeclaredError):
    """A service of this type and version is registered already."""

    wire = ("ServiceNameExists(string serviceName)",)
    serviceName: str
    problem = "A service named {serviceName!r} is registered already."
    remedy = "Choose another version."


class ServiceNotFound(DeclaredError):
    """The ledger knows no service of this name."""

    wire = ("ServiceNotFound(address serviceAddress)",)
    serviceAddress: ChecksumAddress
    problem = "The ledger knows no service of this name."
    remedy = "serving registry list"


class ServiceNotRegistered(DeclaredError):
    """Declared by the wire format and raised by no contract."""

    wire = ("ServiceNotRegistered(address serviceAddress)",)
    serviceAddress: ChecksumAddress
    problem = "{serviceAddress} is not registered."
    remedy = "serving registry list"


class ServiceRegistryLimitReached(DeclaredError):
    """The registry is full."""

    wire = ("ServiceRegistryLimitReached(uint256 limit)",)
    limit: int
    problem = "The registry holds {limit} services and takes no more."
    remedy = "serving registry list"


class ServiceTypeRequired(DeclaredError):
    """A service needs a type."""

    wire = ("ServiceTypeRequired()",)
    problem = "The service type is empty."
    remedy = 'Give a type like "inference".'


class TooManyProviders(DeclaredError):
    """More providers in one retrieval than the ledger takes."""

    wire = ("TooManyProviders(uint256 requested, uint256 maximum)",)
    requested: int
    maximum: int
    problem = "{requested} providers in one call, where the ledger takes {maximum}."
    remedy = "Split the list; `serving ledger retrieve` does that by itself."


class TooManyProvidersForService(DeclaredError):
    """The user has as many providers in this service as the ledger takes."""

    wire = ("TooManyProvidersForService(uint256 current, uint256 maximum)",)
    current: int
    maximum: int
    problem = "The ledger has {current} providers in this service and takes at most {maximum}."
    remedy = "Use another ledger for further providers."


class VersionRequired(DeclaredError):
    """A service needs a version."""

    wire = ("VersionRequired()",)
    problem = "The version is empty."
    remedy = 'Give a version like "v1.0".'


class ZeroAddressNotAllowed(DeclaredError):
    """The recipient is the zero address."""

    wire = ("ZeroAddressNotAllowed()",)
    problem = "The recipient is the zero address."
    remedy = "Give the address of the user whose ledger it is for."


class ZeroAmountNotAllowed(DeclaredError):
    """A deposit of nothing."""

    wire = ("ZeroAmountNotAllowed()",)
    problem = "A deposit of nothing."
    remedy = "serving ledger deposit AMOUNT"
