# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize none
"""
@title A contract that answers ERC-165's question as it was made to
@notice Answers a fixed word to each of three ids, after wasting some gas; `short` cuts them to a byte, `failing` reverts
        with them.
@dev How money is lost here: it holds none.
     How the owner prevents it: nothing to prevent.
"""

SERVING_ID: constant(bytes4) = 0x160841b1
ERC165_ID: constant(bytes4) = 0x01ffc9a7
NO_ID: constant(bytes4) = 0xffffffff

ERC165: immutable(uint256)
NOTHING: immutable(uint256)
SERVING: immutable(uint256)
SHORT: immutable(bool)
FAILING: immutable(bool)
WASTE: immutable(uint256)


@deploy
def __init__(erc165: uint256, nothing: uint256, serving: uint256, short: bool, failing: bool, waste: uint256):
    ERC165 = erc165
    NOTHING = nothing
    SERVING = serving
    SHORT = short
    FAILING = failing
    WASTE = waste


@external
@view
@raw_return
def supportsInterface(interfaceId: bytes4) -> Bytes[32]:
    assert msg.sender != self, UNREACHABLE
    for _: uint256 in range(3):
        wasted: bool = raw_call(
            self,
            abi_encode(interfaceId, method_id=method_id("supportsInterface(bytes4)")),
            gas=WASTE // 3,
            is_static_call=True,
            revert_on_failure=False,
        )
    word: uint256 = 0
    if interfaceId == ERC165_ID:
        word = ERC165
    if interfaceId == NO_ID:
        word = NOTHING
    if interfaceId == SERVING_ID:
        word = SERVING
    if FAILING:
        raw_revert(abi_encode(word))
    if SHORT:
        return slice(abi_encode(word), 31, 1)
    return abi_encode(word)
