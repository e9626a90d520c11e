# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Payouts of a service
@custom:contract-name payouts
@license Apache-2.0
@author Serving Network maintainers
@notice One payout at a time: a receiver that calls back cannot start another. It may call everything else, because
        every function writes its state before it pays.
@dev The lock is transient and cleared after the payout, so one transaction can pay several times in a row.
@custom:risk A receiver that rejects coins makes the whole call revert; nothing is paid or recorded.
@custom:mitigation Receivers must be able to receive coins. No other receiver's payout depends on it.
"""

from . import errors

_paying: transient(bool)


@internal
def _pay(to: address, amount: uint256) -> bool:
    """
    @dev Sends `amount` wei with all gas. Returns whether the receiver accepted them; its return data is never copied.
    """
    if self._paying:
        errors._payout_in_progress()
    self._paying = True
    taken: bool = raw_call(to, b"", value=amount, revert_on_failure=False)
    self._paying = False
    return taken
