# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize none
"""
@title A provider that is a contract
@notice Calls somebody whenever coins come in, and remembers what came of it.
@dev How money is lost here: anybody may tell it whom to call; it is for tests only.
     How the owner prevents it: by not using it.
"""

succeeded: public(bool)
answer: public(Bytes[256])

_target: address
_data: Bytes[1024]


@external
@payable
def __default__():
    if self._target != empty(address):
        self.succeeded, self.answer = raw_call(
            self._target, self._data, max_outsize=256, revert_on_failure=False
        )


@external
def on_coins(target: address, data: Bytes[1024]):
    """
    @notice Call `target` with `data` whenever coins come in.
    """
    self._target = target
    self._data = data
