# SPDX-License-Identifier: Apache-2.0
"""Errors of the LedgerManager."""

from serving_network.contracts.errors.base import ChecksumAddress, DeclaredError, Wei


class CallFailed(DeclaredError):
    """A service reverted without a reason."""

    wire = ("CallFailed()",)
    problem = "The service reverted the ledger's call without a reason."
    remedy = "serving doctor"


class CallerNotRegisteredService(DeclaredError):
    """Only a registered service may report spending."""

    wire = ("CallerNotRegisteredService(address caller)",)
    caller: ChecksumAddress
    problem = "{caller} is not a registered service. Only registered services may report spending."
    remedy = "serving registry list"


class InsufficientAvailableBalance(DeclaredError):
    """The ledger has less available than the transfer needs. Amounts in wei."""

    wire = ("InsufficientAvailableBalance(uint256 available, uint256 required)",)
    available: Wei
    required: Wei
    problem = "The ledger has {available} available, but {required} are needed."
    remedy = "serving ledger deposit AMOUNT"


class InsufficientBalance(DeclaredError):
    """The withdrawal exceeds what the ledger has available."""

    wire = ("InsufficientBalance(address user)",)
    user: ChecksumAddress
    problem = "The ledger of {user} has less available than the withdrawal needs."
    remedy = "serving account show {user}"


class InvalidServiceAddress(DeclaredError):
    """The zero address cannot be registered as a service."""

    wire = ("InvalidServiceAddress(address serviceAddress)",)
    serviceAddress: ChecksumAddress
    problem = "{serviceAddress} cannot be registered as a service."
    remedy = "serving registry register --help"


class InvalidServiceType(DeclaredError):
    """Declared by the wire format, but not raised by any contract."""

    wire = ("InvalidServiceType(string serviceType)",)
    serviceType: str
    problem = "The network has no service type {serviceType!r}."
    remedy = "serving registry list"


class LedgerExists(DeclaredError):
    """The user already has a ledger."""

    wire = ("LedgerExists(address user)",)
    user: ChecksumAddress
    problem = "{user} already has a ledger."
    remedy = "serving ledger deposit AMOUNT"


class LedgerLocked(DeclaredError):
    """The ledger was called again while one of its own calls was running."""

    wire = ("LedgerLocked()",)
    problem = "Another operation on this ledger was still running when this one was called."
    remedy = "Make the calls one after the other, not one inside the other."


class LedgerNotExists(DeclaredError):
    """The user has no ledger."""

    wire = ("LedgerNotExists(address user)",)
    user: ChecksumAddress
    problem = "{user} has no ledger."
    remedy = "serving ledger open AMOUNT"


class MinimumDepositRequired(DeclaredError):
    """Less than the minimum is deposited, or would remain. Amounts in wei."""

    wire = ("MinimumDepositRequired(uint256 provided, uint256 required)",)
    provided: Wei
    required: Wei
    problem = "{provided} is below the minimum of {required} to deposit, or to leave available."
    remedy = "Use {required} or more. To withdraw everything: serving ledger withdraw all"


class MustWithdrawAllFundsFirst(DeclaredError):
    """A ledger that still holds coins cannot be deleted. Amount in wei."""

    wire = ("MustWithdrawAllFundsFirst(uint256 remainingBalance)",)
    remainingBalance: Wei
    problem = "The ledger still holds {remainingBalance}, available or with providers, and cannot be deleted."
    remedy = "Run serving ledger retrieve --all now and after the lock time, then: serving ledger withdraw all"


class NoRecommendedService(DeclaredError):
    """No version of this service type is recommended."""

    wire = ("NoRecommendedService(string serviceType)",)
    serviceType: str
    problem = "No version of {serviceType!r} is recommended."
    remedy = "serving registry list"


class RefundMismatch(DeclaredError):
    """A service reported another amount than it sent. Amounts in wei."""

    wire = ("RefundMismatch(uint256 received, uint256 reported)",)
    received: Wei
    reported: Wei
    problem = "The service returned {received} but reported {reported}, so the ledger refused the refund."
    remedy = "Report it to the network's owner: this service must not stay registered."


class ServiceAlreadyRegistered(DeclaredError):
    """This address is already registered."""

    wire = ("ServiceAlreadyRegistered(address serviceAddress)",)
    serviceAddress: ChecksumAddress
    problem = "{serviceAddress} is already registered."
    remedy = "serving registry list"


class ServiceMustImplementIServing(DeclaredError):
    """The address does not implement the serving interface."""

    wire = ("ServiceMustImplementIServing(address serviceAddress)",)
    serviceAddress: ChecksumAddress
    problem = "{serviceAddress} is not a service: it does not implement the interface 0x160841b1."
    remedy = "Register the address of a service's front, not of its implementation or beacon."


class ServiceNotAnswering(DeclaredError):
    """A service does not report what it holds, so the ledger cannot continue."""

    wire = ("ServiceNotAnswering(address service)",)
    service: ChecksumAddress
    problem = "The service {service} does not answer, so the ledger cannot check that nothing is left in it."
    remedy = "Try again later. If it still fails, report it to the network's owner."


class ServiceNameExists(DeclaredError):
    """A service of this type and version is already registered."""

    wire = ("ServiceNameExists(string serviceName)",)
    serviceName: str
    problem = "A service named {serviceName!r} is already registered."
    remedy = "Choose another version."


class ServiceNotFound(DeclaredError):
    """No service of this name is registered."""

    wire = ("ServiceNotFound(address serviceAddress)",)
    serviceAddress: ChecksumAddress
    problem = "No service of this name is registered with the ledger."
    remedy = "serving registry list"


class ServiceNotRegistered(DeclaredError):
    """Declared by the wire format, but not raised by any contract."""

    wire = ("ServiceNotRegistered(address serviceAddress)",)
    serviceAddress: ChecksumAddress
    problem = "{serviceAddress} is not registered."
    remedy = "serving registry list"


class ServiceRegistryLimitReached(DeclaredError):
    """The registry is full."""

    wire = ("ServiceRegistryLimitReached(uint256 limit)",)
    limit: int
    problem = "The registry is full: it holds {limit} services."
    remedy = "serving registry list"


class ServiceTypeRequired(DeclaredError):
    """A service needs a type."""

    wire = ("ServiceTypeRequired()",)
    problem = "The service type is empty."
    remedy = 'Use a type such as "inference".'


class TooManyProviders(DeclaredError):
    """More providers in one retrieval than the ledger accepts."""

    wire = ("TooManyProviders(uint256 requested, uint256 maximum)",)
    requested: int
    maximum: int
    problem = "The call names {requested} providers; the ledger accepts at most {maximum}."
    remedy = "Split the list, as `serving ledger retrieve` does."


class TooManyProvidersForService(DeclaredError):
    """The user has as many providers in this service as the ledger allows."""

    wire = ("TooManyProvidersForService(uint256 current, uint256 maximum)",)
    current: int
    maximum: int
    problem = "The ledger has {current} providers in this service; at most {maximum} are allowed."
    remedy = "Use another ledger for further providers."


class VersionRequired(DeclaredError):
    """A service needs a version."""

    wire = ("VersionRequired()",)
    problem = "The version is empty."
    remedy = 'Use a version such as "v1.0".'


class ZeroAddressNotAllowed(DeclaredError):
    """The recipient is the zero address."""

    wire = ("ZeroAddressNotAllowed()",)
    problem = "The recipient is the zero address."
    remedy = "Pass the address of the user who receives the deposit."


class ZeroAmountNotAllowed(DeclaredError):
    """The deposit is zero."""

    wire = ("ZeroAmountNotAllowed()",)
    problem = "The deposit is zero."
    remedy = "serving ledger deposit AMOUNT"
