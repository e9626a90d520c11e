# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize none
"""
@title An implementation that says in whose name and storage it runs
"""

event Initialized:
    front: address
    creator: address
    coins: uint256


VERSION: immutable(uint256)

stored: public(uint256)


@deploy
def __init__(version: uint256):
    VERSION = version


@external
@payable
def initialize(number: uint256):
    assert number != 0, "a probe stores something"
    self.stored = number
    log Initialized(front=self, creator=msg.sender, coins=msg.value)


@external
@view
def version() -> uint256:
    return VERSION


@external
@payable
def context() -> (address, address, uint256, uint256):
    return self, msg.sender, msg.value, self.stored


@external
@payable
def __default__():
    assert len(msg.data) == 0, "a probe has no such function"
