# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Errors that only fine-tuning raises
@custom:contract-name fine_tuning_errors
@license Apache-2.0
@author Serving Network maintainers
@notice See `errors` in `serving` for how errors are encoded.
@dev The contract is close to the size limit. Errors with the ID of a deliverable share `_about_deliverable`, because
     each function with a text argument takes more code than the error's selector.
@custom:risk As in `errors`; the module has no state.
@custom:mitigation Nothing to stop.
"""

from ..serving import errors as shared_errors

# @dev The bounds of IDs of deliverables when decoded, and of reasons.
MAX_ID_DECODED: constant(uint256) = 512
MAX_REASON: constant(uint256) = 48


@internal
@pure
def _invalid_ledger_address():
    shared_errors._bare(convert(method_id("InvalidLedgerAddress()", output_type=bytes4), uint256))


@internal
@pure
def _transfer_to_ledger_failed():
    shared_errors._bare(convert(method_id("TransferToLedgerFailed()", output_type=bytes4), uint256))


@internal
@pure
def _eth_transfer_failed():
    shared_errors._bare(convert(method_id("ETHTransferFailed()", output_type=bytes4), uint256))


@internal
@pure
def _secret_should_not_be_empty():
    shared_errors._bare(convert(method_id("SecretShouldNotBeEmpty()", output_type=bytes4), uint256))


@internal
@pure
def _secret_should_be_empty():
    shared_errors._bare(convert(method_id("SecretShouldBeEmpty()", output_type=bytes4), uint256))


@internal
@pure
def _limit_too_large(limit: uint256):
    shared_errors._numbered(
        convert(method_id("LimitTooLarge(uint256)", output_type=bytes4), uint256), limit
    )


@internal
@pure
def _lock_time_out_of_range(lock_time: uint256):
    shared_errors._numbered(
        convert(method_id("LockTimeOutOfRange(uint256)", output_type=bytes4), uint256), lock_time
    )


@internal
@pure
def _penalty_percentage_too_high(percentage: uint256):
    shared_errors._numbered(
        convert(method_id("PenaltyPercentageTooHigh(uint256)", output_type=bytes4), uint256), percentage
    )


@internal
@pure
def _deliverable_id_invalid_length(length: uint256):
    shared_errors._numbered(
        convert(method_id("DeliverableIdInvalidLength(uint256)", output_type=bytes4), uint256), length
    )


@internal
@pure
def _user_action_required(user: address, provider: address):
    raw_revert(
        abi_encode(user, provider, method_id=method_id("UserActionRequired(address,address)"))
    )


@internal
@pure
def _invalid_verifier_input(reason: String[MAX_REASON]):
    raw_revert(abi_encode(reason, method_id=method_id("InvalidVerifierInput(string)")))


@internal
@pure
def _about_deliverable(selector: uint256, id: String[MAX_ID_DECODED]):
    """
    @dev Reverts with an error whose only argument is the ID of a deliverable.
    """
    raw_revert(concat(convert(convert(selector, uint32), bytes4), abi_encode(id)))
