# pragma version 0.4.3
# pragma evm-version cancun
"""
@title The ledger's own errors
@notice Each is declared once, here; what the services raise too stands in serving/errors.vy.
@dev How money is lost here: it is not; the module holds no state and its owner has nothing to stop.
"""


@internal
@pure
def _ledger_not_exists(user: address):
    raw_revert(abi_encode(user, method_id=method_id("LedgerNotExists(address)")))


@internal
@pure
def _ledger_exists(user: address):
    raw_revert(abi_encode(user, method_id=method_id("LedgerExists(address)")))


@internal
@pure
def _ledger_locked():
    raw_revert(method_id("LedgerLocked()"))


@internal
@pure
def _minimum_deposit_required(provided: uint256, required: uint256):
    raw_revert(
        abi_encode(
            provided, required, method_id=method_id("MinimumDepositRequired(uint256,uint256)")
        )
    )


@internal
@pure
def _additional_info_too_long(length: uint256, maximum: uint256):
    raw_revert(
        abi_encode(length, maximum, method_id=method_id("AdditionalInfoTooLong(uint256,uint256)"))
    )


@internal
@pure
def _zero_amount():
    raw_revert(method_id("ZeroAmountNotAllowed()"))


@internal
@pure
def _zero_address():
    raw_revert(method_id("ZeroAddressNotAllowed()"))


@internal
@pure
def _insufficient_balance(user: address):
    raw_revert(abi_encode(user, method_id=method_id("InsufficientBalance(address)")))


@internal
@pure
def _insufficient_available(available: uint256, required: uint256):
    raw_revert(
        abi_encode(
            available,
            required,
            method_id=method_id("InsufficientAvailableBalance(uint256,uint256)"),
        )
    )


@internal
@pure
def _must_withdraw_first(remaining: uint256):
    raw_revert(abi_encode(remaining, method_id=method_id("MustWithdrawAllFundsFirst(uint256)")))


@internal
@pure
def _too_many_providers(requested: uint256, maximum: uint256):
    raw_revert(
        abi_encode(requested, maximum, method_id=method_id("TooManyProviders(uint256,uint256)"))
    )


@internal
@pure
def _too_many_providers_for_service(current: uint256, maximum: uint256):
    raw_revert(
        abi_encode(
            current, maximum, method_id=method_id("TooManyProvidersForService(uint256,uint256)")
        )
    )


@internal
@pure
def _refund_mismatch(received: uint256, reported: uint256):
    raw_revert(
        abi_encode(received, reported, method_id=method_id("RefundMismatch(uint256,uint256)"))
    )


@internal
@pure
def _call_failed():
    raw_revert(method_id("CallFailed()"))


@internal
@pure
def _transfer_failed():
    raw_revert(method_id("TransferFailed()"))


@internal
@pure
def _service_not_answering(service: address):
    raw_revert(abi_encode(service, method_id=method_id("ServiceNotAnswering(address)")))


@internal
@pure
def _caller_not_registered(caller: address):
    raw_revert(abi_encode(caller, method_id=method_id("CallerNotRegisteredService(address)")))


@internal
@pure
def _service_not_found():
    raw_revert(abi_encode(empty(address), method_id=method_id("ServiceNotFound(address)")))


@internal
@pure
def _invalid_service_address(service: address):
    raw_revert(abi_encode(service, method_id=method_id("InvalidServiceAddress(address)")))


@internal
@pure
def _service_type_required():
    raw_revert(method_id("ServiceTypeRequired()"))


@internal
@pure
def _version_required():
    raw_revert(method_id("VersionRequired()"))


@internal
@pure
def _service_already_registered(service: address):
    raw_revert(abi_encode(service, method_id=method_id("ServiceAlreadyRegistered(address)")))


@internal
@pure
def _must_implement_iserving(service: address):
    raw_revert(abi_encode(service, method_id=method_id("ServiceMustImplementIServing(address)")))


@internal
@pure
def _registry_limit_reached(limit: uint256):
    raw_revert(abi_encode(limit, method_id=method_id("ServiceRegistryLimitReached(uint256)")))
