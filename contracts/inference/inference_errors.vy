# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Errors that only inference raises
@custom:contract-name inference_errors
@license Apache-2.0
@author Serving Network maintainers
@notice See `errors` in `serving` for how errors are encoded.
@custom:risk As in `errors`; the module has no state.
@custom:mitigation Nothing to stop.
"""

from ..serving import errors as shared_errors


@internal
@pure
def _transfer_failed():
    shared_errors._bare(convert(method_id("TransferFailed()", output_type=bytes4), uint256))


@internal
@pure
def _no_settlements_provided():
    shared_errors._bare(convert(method_id("NoSettlementsProvided()", output_type=bytes4), uint256))


@internal
@pure
def _too_many_settlements(count: uint256, maximum: uint256):
    raw_revert(
        abi_encode(count, maximum, method_id=method_id("TooManySettlements(uint256,uint256)"))
    )


@internal
@pure
def _limit_too_large(limit: uint256, maximum: uint256):
    raw_revert(abi_encode(limit, maximum, method_id=method_id("LimitTooLarge(uint256,uint256)")))


@internal
@pure
def _lock_time_out_of_range(lock_time: uint256, minimum: uint256, maximum: uint256):
    raw_revert(
        abi_encode(
            lock_time,
            minimum,
            maximum,
            method_id=method_id("LockTimeOutOfRange(uint256,uint256,uint256)"),
        )
    )
