# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Errors of both services and the ledger
@custom:contract-name errors
@license Apache-2.0
@author Serving Network maintainers
@notice Vyper 0.4.3 has no custom errors. Each error is a function, named after it, that reverts with the ABI-encoded
        error. Errors that only one contract raises are in `ledger_errors`, `inference_errors` and
        `fine_tuning_errors`.
@dev An error with arguments is `raw_revert(abi_encode(..., method_id=...))`. An error without arguments goes through
     `_bare`, which takes 32 bytes less code than `raw_revert(method_id(...))`.
     Fine-tuning, which is close to the size limit, raises errors with one number through `_numbered` for the same
     reason.
@custom:risk With a wrong selector, clients would cache a wrong fact, since they trust a decoded `AccountNotExists`. A
        test compares all selectors with the declared errors.
@custom:mitigation Nothing to stop; the module has no state.
"""


@internal
@pure
def _bare(selector: uint256):
    """
    @dev Reverts with an error that has no arguments.
    """
    raw_revert(slice(convert(selector << 224, bytes32), 0, 4))


@internal
@pure
def _numbered(selector: uint256, number: uint256):
    """
    @dev Reverts with an error whose only argument is a number.
    """
    raw_revert(concat(slice(convert(selector << 224, bytes32), 0, 4), convert(number, bytes32)))


@internal
@pure
def _account_exists(user: address, provider: address):
    raw_revert(abi_encode(user, provider, method_id=method_id("AccountExists(address,address)")))


@internal
@pure
def _account_not_exists(user: address, provider: address):
    raw_revert(abi_encode(user, provider, method_id=method_id("AccountNotExists(address,address)")))


@internal
@pure
def _account_not_empty(user: address, provider: address, balance: uint256):
    raw_revert(
        abi_encode(
            user,
            provider,
            balance,
            method_id=method_id("AccountNotEmpty(address,address,uint256)"),
        )
    )


@internal
@pure
def _cannot_revoke(user: address, provider: address, balance: uint256):
    raw_revert(
        abi_encode(
            user,
            provider,
            balance,
            method_id=method_id("CannotRevokeWithNonZeroBalance(address,address,uint256)"),
        )
    )


@internal
@pure
def _service_not_exist(provider: address):
    raw_revert(abi_encode(provider, method_id=method_id("ServiceNotExist(address)")))


@internal
@pure
def _insufficient_stake(provided: uint256, required: uint256):
    raw_revert(
        abi_encode(provided, required, method_id=method_id("InsufficientStake(uint256,uint256)"))
    )


@internal
@pure
def _cannot_add_stake():
    self._bare(convert(method_id("CannotAddStakeWhenUpdating()", output_type=bytes4), uint256))


@internal
@pure
def _unexpected_signer(provider: address, expected: address, actual: address):
    raw_revert(
        abi_encode(
            provider,
            expected,
            actual,
            method_id=method_id("UnexpectedTEESigner(address,address,address)"),
        )
    )


@internal
@pure
def _invalid_address(addr: address):
    raw_revert(abi_encode(addr, method_id=method_id("InvalidAddress(address)")))


@internal
@pure
def _provider_cannot_be_user():
    self._bare(convert(method_id("ProviderCannotBeUser()", output_type=bytes4), uint256))


@internal
@pure
def _additional_info_too_long():
    self._bare(convert(method_id("AdditionalInfoTooLong()", output_type=bytes4), uint256))


@internal
@pure
def _amount_too_large(amount: uint256, maximum: uint256):
    raw_revert(
        abi_encode(amount, maximum, method_id=method_id("AmountTooLarge(uint256,uint256)"))
    )


@internal
@pure
def _text_too_long(length: uint256, maximum: uint256):
    raw_revert(abi_encode(length, maximum, method_id=method_id("TextTooLong(uint256,uint256)")))


@internal
@pure
def _batch_size_too_large(size: uint256, maximum: uint256):
    raw_revert(
        abi_encode(size, maximum, method_id=method_id("BatchSizeTooLarge(uint256,uint256)"))
    )


@internal
@pure
def _payout_in_progress():
    self._bare(convert(method_id("PayoutInProgress()", output_type=bytes4), uint256))


@internal
@pure
def _direct_deposits_disabled():
    self._bare(convert(method_id("DirectDepositsDisabled()", output_type=bytes4), uint256))


@internal
@pure
def _already_initialized():
    self._bare(convert(method_id("AlreadyInitialized()", output_type=bytes4), uint256))


@internal
@pure
def _too_many_items(count: uint256, maximum: uint256):
    raw_revert(abi_encode(count, maximum, method_id=method_id("TooManyItems(uint256,uint256)")))
