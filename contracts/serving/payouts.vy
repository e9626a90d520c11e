# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Coins that leave a service
@notice One payout at a time: a receiver that calls back cannot start another one. Everything else may be called
        during a payout, because every function writes its state before it pays.
@dev The lock is transient and cleared afterwards, so that one transaction can pay several times in a row.
     How money is lost here: a receiver that refuses coins makes the whole call fail; nothing is paid or booked then.
     How the receiver prevents it: by being able to receive coins. Nobody else's payout depends on it.
"""

from . import errors

_paying: transient(bool)


@internal
def _pay(to: address, amount: uint256) -> bool:
    """
    @dev Send `amount` wei with all gas. Returns whether the receiver took it; its return data is never copied.
    """
    if self._paying:
        errors._payout_in_progress()
    self._paying = True
    taken: bool = raw_call(to, b"", value=amount, revert_on_failure=False)
    self._paying = False
    return taken
