# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
"""
@title A number with an event, an error and a past, for clients to be tested with
"""

event Changed:
    who: indexed(address)
    number: uint256

number: public(uint256)

LIMIT: constant(uint256) = 100


@external
@payable
def change(number: uint256):
    """
    @notice Set the number. Reverts with TooLarge(uint256,uint256) above the limit.
    """
    if number > LIMIT:
        raw_revert(abi_encode(number, LIMIT, method_id=method_id("TooLarge(uint256,uint256)")))
    assert msg.value == 0, "keep your coins"
    self.number = number
    log Changed(who=msg.sender, number=number)
