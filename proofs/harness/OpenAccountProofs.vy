# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title What is to be proven of accounts in any state
@notice Written and not decided: run only when named. For either service, in any state that an account can be in:
        balance, nonce, flags, refunds with any amounts and times; all that is assumed is that the balance covers what
        is pending, which is the sum of the refunds, and each claim says that this is so again afterwards (`_unsound` is
        zero).
"""

from . import cheats
from . import state
from . import world

CODE: constant(Bytes[32768]) = x"00{Serving}"
WORDS: constant(uint256) = {Serving:accounts._words}
REFUNDS: constant(uint256) = {Serving:accounts._refunds}

USER: constant(address) = 0x1000000000000000000000000000000000000001
PROVIDER: constant(address) = 0x2000000000000000000000000000000000000001


front: address
beacon: address
implementation: address


interface Serving:
    def addAccount(user: address, provider: address, info: String[32]): payable
    def depositFund(user: address, provider: address, cancel: uint256): payable
    def requestRefundAll(user: address, provider: address): nonpayable
    def processRefund(user: address, provider: address) -> (uint256, uint256, uint256): nonpayable
    def deleteAccount(user: address, provider: address): nonpayable
    def acknowledgeTEESigner(provider: address, acknowledged: bool): nonpayable
    def lockedBalance(user: address) -> uint256: view
    def getPendingRefund(user: address, provider: address) -> uint256: view
    def accountExists(user: address, provider: address) -> bool: view


@deploy
@payable
def __init__():
    self.implementation = raw_create(slice(CODE, 1, len(CODE) - 1))
    self.front, self.beacon = world._front(self.implementation)


@external
def setUp():
    world._initialize(self.front, self, self)
    world._register(self.front, PROVIDER)


@external
@payable
def __default__():
    pass


@external
def check_a_deposit_adds_what_was_sent_and_changes_nothing_else(
    word: uint256, first: uint256, second: uint256, third: uint256, count: uint256, amount: uint256, cancel: uint256
):
    """
    @notice In any state with up to two refunds: the balance grows by the coins sent, what is asked back falls by what
            is cancelled, the signer is accepted, the flag cleared, nonce and all else stay; the refunds are cut, newest
            first, and make up what is pending again. A balance of more than 92 bits is refused.
    """
    are: state.Refunds = state.Refunds(first=first, second=second, third=third)
    for active: uint256 in range(3):
        if count == active:
            before: uint256 = self._begin(word, are, active)
            held: uint256 = self.front.balance
            extcall Serving(self.front).depositFund(USER, PROVIDER, cancel, value=amount)
            after: uint256 = self._word()
            pending: uint256 = (before >> 92) & state.COINS
            cheats._holds(
                (
                    ((after & state.COINS) ^ unsafe_add(before & state.COINS, amount))
                    | (((after >> 92) & state.COINS) ^ unsafe_sub(pending, state._least(pending, cancel)))
                    | (state._rest(after) ^ ((state._rest(before) & ~state.FLAG) | state.ACKNOWLEDGED))
                    | (self.front.balance ^ unsafe_add(held, amount))
                    | state._unsound(after, self._refunds())
                )
                == 0
            )


@external
def check_a_refund_request_covers_all_and_moves_no_coins(
    word: uint256, first: uint256, second: uint256, third: uint256, count: uint256, now: uint256
):
    """
    @notice In any state of the account: afterwards the whole balance is asked back, by at most five refunds that make
            it up; balance, nonce and all else stay, and no coin moves.
    """
    are: state.Refunds = state.Refunds(first=first, second=second, third=third)
    assert now < 2**36
    cheats._warp(now)
    for active: uint256 in range(6):
        if count == active:
            before: uint256 = self._begin(word, are, active)
            extcall Serving(self.front).requestRefundAll(USER, PROVIDER)
            after: uint256 = self._word()
            cheats._holds(
                (
                    ((after & state.COINS) ^ (before & state.COINS))
                    | (((after >> 92) & state.COINS) ^ (before & state.COINS))
                    | (state._rest(after) ^ state._rest(before))
                    | (self.front.balance ^ state.HELD)
                    | state._unsound(after, self._refunds())
                )
                == 0
            )


@external
def check_a_payout_is_what_is_due_and_keeps_the_rest(
    word: uint256, first: uint256, second: uint256, third: uint256, count: uint256, now: uint256
):
    """
    @notice In any state with up to two refunds, at any time: the ledger is paid exactly the refunds whose lock time is
            over, the balance and what is pending fall by that, nonce and all else stay, and nothing that is due is
            left.
    """
    are: state.Refunds = state.Refunds(first=first, second=second, third=third)
    assert now < 2**36
    cheats._warp(now)
    for active: uint256 in range(3):
        if count == active:
            before: uint256 = self._begin(word, are, active)
            had: uint256 = self.balance
            due: uint256 = state._due(before, are, now)
            paid: uint256 = 0
            balance: uint256 = 0
            pending: uint256 = 0
            paid, balance, pending = extcall Serving(self.front).processRefund(USER, PROVIDER)
            after: uint256 = self._word()
            left: state.Refunds = self._refunds()
            cheats._holds(
                (
                    (paid ^ due)
                    | (self.balance ^ unsafe_add(had, paid))
                    | (self.front.balance ^ unsafe_sub(state.HELD, paid))
                    | (balance ^ unsafe_sub(before & state.COINS, paid))
                    | (pending ^ unsafe_sub((before >> 92) & state.COINS, paid))
                    | ((after & (2**184 - 1)) ^ (balance | (pending << 92)))
                    | (state._rest(after) ^ state._rest(before))
                    | state._unsound(after, left)
                    | state._due(after, left, now)
                )
                == 0
            )


@external
def check_an_account_that_holds_coins_is_not_deleted(
    word: uint256, first: uint256, second: uint256, third: uint256, count: uint256
):
    """
    @notice In any state with refunds: deletion succeeds only where balance and pending are nothing.
    """
    are: state.Refunds = state.Refunds(first=first, second=second, third=third)
    for active: uint256 in range(1, 6):
        if count == active:
            before: uint256 = self._begin(word, are, active)
            extcall Serving(self.front).deleteAccount(USER, PROVIDER)
            cheats._holds(before & (2**184 - 1) == 0 and self._word() == before & state.NONCE)


@internal
def _begin(any: uint256, are: state.Refunds, active: uint256) -> uint256:
    """
    @dev The user's account is in this state. Returns its word.
    """
    return state._begin(self.front, self._place(USER), self._at_refunds(), USER, PROVIDER, any, are, active)


@internal
def _word() -> uint256:
    return cheats._load(self.front, self._place(USER))


@internal
def _refunds() -> state.Refunds:
    return state._refunds(self.front, self._at_refunds())


@internal
@view
def _place(user: address) -> uint256:
    return cheats._slot(WORDS, state._key(user, PROVIDER))


@internal
@view
def _at_refunds() -> uint256:
    return cheats._slot(REFUNDS, state._key(USER, PROVIDER))
