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
@pure
def _holds(condition: bool):
    """
    @dev What is to be proven. A plain assert is an assumption: halmos counts only this panic as a refutation.
    """
    if not condition:
        raw_revert(abi_encode(convert(1, uint256), method_id=method_id("Panic(uint256)")))
