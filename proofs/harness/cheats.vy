# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title What a proof may do beside calling contracts
@notice Speak as somebody else, move the clock, give coins, and claim what is to be proven.
"""

VM: constant(address) = 0x7109709ECfa91a80626fF3989D68f67F5b1DD12D


@internal
def _prank(caller: address):
    """
    @dev The next call comes from `caller`.
    """
    raw_call(VM, abi_encode(caller, method_id=method_id("prank(address)")))


@internal
def _warp(time: uint256):
    raw_call(VM, abi_encode(time, method_id=method_id("warp(uint256)")))


@internal
def _deal(to: address, coins: uint256):
    raw_call(VM, abi_encode(to, coins, method_id=method_id("deal(address,uint256)")))


@internal
@view
def _slot(map: uint256, key: uint256) -> uint256:
    """
    @dev Where a contract keeps the entry `key` of the map that its layout puts at `map`.
    """
    return convert(keccak256(abi_encode(map, key)), uint256)


@internal
def _load(account: address, slot: uint256) -> uint256:
    found: Bytes[32] = raw_call(
        VM, abi_encode(account, slot, method_id=method_id("load(address,bytes32)")), max_outsize=32
    )
    return convert(found, uint256)


@internal
def _store(account: address, slot: uint256, word: uint256):
    """
    @dev Begin in a state that nobody has led here: a word of storage is what is said.
    """
    raw_call(VM, abi_encode(account, slot, word, method_id=method_id("store(address,bytes32,bytes32)")))


@internal
@pure
def _holds(condition: bool):
    """
    @dev What is to be proven. A plain assert is an assumption: halmos counts only this panic as a refutation.
    """
    if not condition:
        raw_revert(abi_encode(convert(1, uint256), method_id=method_id("Panic(uint256)")))


@internal
@pure
def _fails(now: bool, condition: bool):
    """
    @dev What `_holds` becomes where it is asked whether any values lead to it: a false statement, if it is this one's
         turn.
    """
    if now:
        raw_revert(abi_encode(convert(1, uint256), method_id=method_id("Panic(uint256)")))
    assert condition
