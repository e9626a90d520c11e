# SPDX-License-Identifier: Apache-2.0
"""Errors of the LedgerManager."""

from serving_network.contracts.errors.base import ChecksumAddress, DeclaredError, Wei


class CallFailed(DeclaredError):
    """A service refused the ledger's call without a reason."""

    wire = ("CallFailed()",)
    problem = "The service reverted the ledger's call without a reason."
    remedy = "serving doctor"


class CallerNotRegisteredService(DeclaredError):
    """Only a registered service may report spending."""

    wire = ("CallerNotRegisteredService(address caller)",)
    caller: ChecksumAddress
    problem = "{caller} is not a registered service, so it may not report spending."
    remedy = "serving version list"


class InsufficientAvailableBalance(DeclaredError):
    """The ledger's available balance is below the amount to move. Amounts are in wei."""

    wire = ("InsufficientAvailableBalance(uint256 available, uint256 required)",)
    available: Wei
    required: Wei
    problem = "The ledger has {available} available, but {required} is needed."
    remedy = "serving ledger deposit AMOUNT"


class InsufficientBalance(DeclaredError):
    """The ledger's available balance is below the amount to withdraw."""

    wire = ("InsufficientBalance(address user)",)
    user: ChecksumAddress
    problem = "The available balance in the ledger of {user} is below the amount to withdraw."
    remedy = "serving account show {user}"


class InvalidServiceAddress(DeclaredError):
    """The zero address cannot be registered as a service."""

    wire = ("InvalidServiceAddress(address serviceAddress)",)
    serviceAddress: ChecksumAddress
    problem = "The address {serviceAddress} cannot be registered as a service."
    remedy = "serving version register --help"


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
    problem = "Another operation on this ledger was still running."
    remedy = "Make the calls one after another, not one inside another."


class LedgerNotExists(DeclaredError):
    """The user has no ledger."""

    wire = ("LedgerNotExists(address user)",)
    user: ChecksumAddress
    problem = "{user} has no ledger."
    remedy = "serving ledger open AMOUNT"


class MinimumDepositRequired(DeclaredError):
    """The amount is, or would leave, less than the minimum. Amounts are in wei."""

    wire = ("MinimumDepositRequired(uint256 provided, uint256 required)",)
    provided: Wei
    required: Wei
    problem = "{provided} is below the minimum of {required} that must be moved or stay available."
    remedy = "Use {required} or more. To withdraw everything, run: serving ledger withdraw all"


class MustWithdrawAllFundsFirst(DeclaredError):
    """A ledger that still holds coins cannot be deleted. The amount is in wei."""

    wire = ("MustWithdrawAllFundsFirst(uint256 remainingBalance)",)
    remainingBalance: Wei
    problem = "The ledger cannot be deleted: it still holds {remainingBalance}, including accounts with providers."
    remedy = "Run serving ledger retrieve --all now and after the lock time, then: serving ledger withdraw all"


class NoRecommendedService(DeclaredError):
    """No version of this service type is recommended."""

    wire = ("NoRecommendedService(string serviceType)",)
    serviceType: str
    problem = "No version of {serviceType!r} is recommended."
    remedy = "serving registry list"


class RefundMismatch(DeclaredError):
    """A service sent another amount than it reported. Amounts are in wei."""

    wire = ("RefundMismatch(uint256 received, uint256 reported)",)
    received: Wei
    reported: Wei
    problem = "The service sent a refund of {received} but reported {reported}, so the ledger refused it."
    remedy = "Report it to the network's owner: this service must not stay registered."


class ServiceAlreadyRegistered(DeclaredError):
    """This address is already registered."""

    wire = ("ServiceAlreadyRegistered(address serviceAddress)",)
    serviceAddress: ChecksumAddress
    problem = "{serviceAddress} is already registered."
    remedy = "serving version list"


class ServiceMustImplementIServing(DeclaredError):
    """The contract does not implement the service interface."""

    wire = ("ServiceMustImplementIServing(address serviceAddress)",)
    serviceAddress: ChecksumAddress
    problem = "{serviceAddress} is not a service: it does not implement the interface 0x160841b1."
    remedy = "Register the address of a service's front, not of its implementation or its beacon."


class ServiceNotAnswering(DeclaredError):
    """A service does not report its balances, so nothing that depends on them can be done."""

    wire = ("ServiceNotAnswering(address service)",)
    service: ChecksumAddress
    problem = "The service {service} does not answer, so the ledger cannot verify that it holds nothing."
    remedy = "Try again later. If it still fails, run serving health and report it to the network's owner."


class ServiceNameExists(DeclaredError):
    """A service with this type and version is already registered."""

    wire = ("ServiceNameExists(string serviceName)",)
    serviceName: str
    problem = "A service named {serviceName!r} is already registered."
    remedy = "Choose another version."


class ServiceNotFound(DeclaredError):
    """The ledger has no service with this name."""

    wire = ("ServiceNotFound(address serviceAddress)",)
    serviceAddress: ChecksumAddress
    problem = "The ledger has no service with this name."
    remedy = "serving version list"


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
    problem = "The registry is full: it holds the maximum of {limit} services."
    remedy = "serving version list"


class ServiceTypeRequired(DeclaredError):
    """A service needs a type."""

    wire = ("ServiceTypeRequired()",)
    problem = "The service type is empty."
    remedy = 'Set a type such as "inference".'


class TooManyProviders(DeclaredError):
    """One retrieval names more providers than the ledger accepts."""

    wire = ("TooManyProviders(uint256 requested, uint256 maximum)",)
    requested: int
    maximum: int
    problem = "The call names {requested} providers, but the ledger accepts at most {maximum}."
    remedy = "Split the list, or use `serving ledger retrieve`, which splits it."


class TooManyProvidersForService(DeclaredError):
    """The user already has the maximum number of providers in this service."""

    wire = ("TooManyProvidersForService(uint256 current, uint256 maximum)",)
    current: int
    maximum: int
    problem = "The ledger has {current} providers in this service; the maximum is {maximum}."
    remedy = "Use another ledger for more providers."


class VersionRequired(DeclaredError):
    """A service needs a version."""

    wire = ("VersionRequired()",)
    problem = "The version is empty."
    remedy = 'Set a version such as "v1.0".'


class ZeroAddressNotAllowed(DeclaredError):
    """The recipient is the zero address."""

    wire = ("ZeroAddressNotAllowed()",)
    problem = "The recipient is the zero address."
    remedy = "Set the address of the user who owns the ledger."


class ZeroAmountNotAllowed(DeclaredError):
    """The amount to deposit is zero."""

    wire = ("ZeroAmountNotAllowed()",)
    problem = "The amount to deposit is zero."
    remedy = "serving ledger deposit AMOUNT"
