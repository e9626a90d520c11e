# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Errors that only the ledger raises
@custom:contract-name ledger_errors
@license Apache-2.0
@author Serving Network maintainers
@notice See `errors` in `serving` for how errors are encoded.
@custom:risk As in `errors`; the module has no state.
@custom:mitigation Nothing to stop.
"""


from ..serving import errors as shared_errors

# @dev More than any text of the registry that an error names.
MAX_TEXT: constant(uint256) = 256


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
    shared_errors._bare(convert(method_id("LedgerLocked()", output_type=bytes4), uint256))


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
    shared_errors._bare(convert(method_id("ZeroAmountNotAllowed()", output_type=bytes4), uint256))


@internal
@pure
def _zero_address():
    shared_errors._bare(convert(method_id("ZeroAddressNotAllowed()", output_type=bytes4), uint256))


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
    shared_errors._bare(convert(method_id("CallFailed()", output_type=bytes4), uint256))


@internal
@pure
def _transfer_failed():
    shared_errors._bare(convert(method_id("TransferFailed()", output_type=bytes4), uint256))


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
    shared_errors._bare(convert(method_id("ServiceTypeRequired()", output_type=bytes4), uint256))


@internal
@pure
def _version_required():
    shared_errors._bare(convert(method_id("VersionRequired()", output_type=bytes4), uint256))


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


@internal
@pure
def _service_name_exists(name: String[MAX_TEXT]):
    raw_revert(abi_encode(name, method_id=method_id("ServiceNameExists(string)")))


@internal
@pure
def _no_recommended_service(service_type: String[MAX_TEXT]):
    raw_revert(abi_encode(service_type, method_id=method_id("NoRecommendedService(string)")))
