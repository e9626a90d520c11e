# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Any state that an account can be in
@notice Balance, nonce, flags, 0 to 5 active refunds with any amounts and times. All that is assumed is that the balance
        covers what is pending, which is the sum of the refunds; `_unsound` asks whether that is so.
@dev The number of refunds is a number and not a symbol, one after the other, and sums are made without branches, which
     would double every path: both keep the formulas small.
"""

from . import cheats
from . import world

COINS: constant(uint256) = 2**92 - 1
FLAG: constant(uint256) = 2**184
EXISTS: constant(uint256) = 2**186
NONCE: constant(uint256) = (2**64 - 1) << 191
ACKNOWLEDGED: constant(uint256) = 2**255

# @dev What a service holds, unless a claim says otherwise: more than any account can.
HELD: constant(uint256) = 2**94


struct Refunds:
    first: uint256
    second: uint256
    third: uint256


interface Serving:
    def addAccount(user: address, provider: address, info: String[32]): payable


@internal
def _begin(
    front: address, place: uint256, refunds: uint256, user: address, provider: address, any: uint256, are: Refunds,
    active: uint256
) -> uint256:
    """
    @dev The account is in this state, with `active` refunds, and the service holds coins enough for it. Returns its
         word: `any`, but for what is so in every state.
    """
    pending: uint256 = self._sum(are, active)
    assert pending <= any & COINS
    word: uint256 = (any & (COINS | FLAG | NONCE | ACKNOWLEDGED)) | EXISTS | (active << 187) | (pending << 92)
    extcall Serving(front).addAccount(user, provider, "")
    cheats._deal(front, HELD)
    cheats._store(front, place, word)
    cheats._store(front, refunds, are.first)
    cheats._store(front, refunds + 1, are.second)
    cheats._store(front, refunds + 2, are.third)
    return word


@internal
def _refunds(front: address, at: uint256) -> Refunds:
    return Refunds(
        first=cheats._load(front, at), second=cheats._load(front, at + 1), third=cheats._load(front, at + 2)
    )


@internal
@pure
def _unsound(word: uint256, are: Refunds) -> uint256:
    """
    @dev Zero when at most five refunds are active, they make up what is pending, and the balance covers that.
    """
    count: uint256 = (word >> 187) & 7
    pending: uint256 = (word >> 92) & COINS
    return (
        (self._sum(are, count) ^ pending)
        | convert(pending > word & COINS, uint256)
        | convert(count > 5, uint256)
    )


@internal
@pure
def _sum(are: Refunds, count: uint256) -> uint256:
    """
    @dev What the first `count` refunds amount to.
    """
    sum: uint256 = are.first & self._if(count > 0)
    sum = unsafe_add(sum, (are.first >> 128) & self._if(count > 1))
    sum = unsafe_add(sum, are.second & self._if(count > 2))
    sum = unsafe_add(sum, (are.second >> 128) & self._if(count > 3))
    return unsafe_add(sum, are.third & self._if(count > 4))


@internal
@pure
def _due(word: uint256, are: Refunds, now: uint256) -> uint256:
    """
    @dev How much is asked back by active refunds whose lock time is over.
    """
    count: uint256 = (word >> 187) & 7
    sum: uint256 = are.first & self._if(count > 0) & self._ripe(are.first, now)
    sum = unsafe_add(sum, (are.first >> 128) & self._if(count > 1) & self._ripe(are.first >> 128, now))
    sum = unsafe_add(sum, are.second & self._if(count > 2) & self._ripe(are.second, now))
    sum = unsafe_add(sum, (are.second >> 128) & self._if(count > 3) & self._ripe(are.second >> 128, now))
    return unsafe_add(sum, are.third & self._if(count > 4) & self._ripe(are.third, now))


@internal
@pure
def _rest(word: uint256) -> uint256:
    """
    @dev A word without amounts and number of refunds.
    """
    return word & ~(2**184 - 1) & ~(7 << 187)


@internal
@pure
def _least(one: uint256, other: uint256) -> uint256:
    """
    @dev With a branch: `min` multiplies, which the solvers find hard.
    """
    if one < other:
        return one
    return other


@internal
@pure
def _key(user: address, provider: address) -> uint256:
    """
    @dev What an account is known by in the service's maps.
    """
    return convert(keccak256(abi_encode(provider, user)), uint256)


@internal
@pure
def _ripe(refund: uint256, now: uint256) -> uint256:
    return self._if(now >= unsafe_add((refund >> 92) & (2**36 - 1), world.LOCK))


@internal
@pure
def _if(condition: bool) -> uint256:
    """
    @dev The bits of an amount, or none.
    """
    return unsafe_sub(0, convert(condition, uint256)) & COINS
