# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title What is proven of accounts and stakes
@notice For either service: each has its own build of the shared code, and every claim here is put to both. This is
        ledger and owner of one service with one confirmed provider. Some claims begin in a state that the proof puts
        there: a word or a stake with any value at all. Arguments of `check_` functions are any values at all.
"""

from . import cheats
from . import state
from . import world

CODE: constant(Bytes[32768]) = x"00{Serving}"
WORDS: constant(uint256) = {Serving:accounts._words}
REFUNDS: constant(uint256) = {Serving:accounts._refunds}
STAKES: constant(uint256) = {Serving:services._words}

USER: constant(address) = 0x1000000000000000000000000000000000000001
OTHER: constant(address) = 0x1000000000000000000000000000000000000002
PROVIDER: constant(address) = 0x2000000000000000000000000000000000000001
OTHER_PROVIDER: constant(address) = 0x2000000000000000000000000000000000000002

SIGNER_TWO: constant(address) = 0x3000000000000000000000000000000000000002

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
def check_opening_an_account_books_exactly_what_was_sent(user: address, other: address, amount: uint256, more: uint256):
    """
    @notice For any two users: a new account has the sent coins, no refunds and no flags, the service holds the coins,
    and the other user's account does not change. An amount of more than 92 bits is rejected.
    """
    assert user != other
    extcall Serving(self.front).addAccount(other, PROVIDER, "", value=more)
    extcall Serving(self.front).addAccount(user, PROVIDER, "", value=amount)
    cheats._holds(
        (
            (cheats._load(self.front, self._place(user)) ^ (amount | state.EXISTS | state.ACKNOWLEDGED))
            | (cheats._load(self.front, self._place(other)) ^ (more | state.EXISTS | state.ACKNOWLEDGED))
            | (self.front.balance ^ unsafe_add(world.STAKE, unsafe_add(amount, more)))
            | ((amount | more) & ~state.COINS)
        )
        == 0
    )


@external
def check_every_field_of_the_word_reads_as_stored(word: uint256):
    """
    @notice Balance, pending refund and existence are each read from their own bits, whatever the other bits are.
    """
    extcall Serving(self.front).addAccount(USER, PROVIDER, "")
    cheats._store(self.front, self._place(USER), word)
    cheats._holds(staticcall Serving(self.front).accountExists(USER, PROVIDER) == (word & state.EXISTS != 0))
    cheats._holds(staticcall Serving(self.front).lockedBalance(USER) == word & state.COINS)
    if word & state.EXISTS != 0:
        pending: uint256 = staticcall Serving(self.front).getPendingRefund(USER, PROVIDER)
        cheats._holds(pending == (word >> 92) & state.COINS)


@external
def check_a_deposit_adds_exactly_what_was_sent(before: uint256, amount: uint256, cancel: uint256):
    """
    @notice A deposit adds the sent coins to the balance, whatever it cancels, and the pending refund never increases.
    """
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=before)
    extcall Serving(self.front).requestRefundAll(USER, PROVIDER)
    extcall Serving(self.front).depositFund(USER, PROVIDER, cancel, value=amount)
    cheats._holds(staticcall Serving(self.front).lockedBalance(USER) == before + amount)
    cheats._holds(staticcall Serving(self.front).getPendingRefund(USER, PROVIDER) == before - min(before, cancel))
    cheats._holds(self.front.balance == before + amount + world.STAKE)


@external
def check_packed_amounts_are_unpacked_unchanged(amount: uint256, cancel: uint256):
    """
    @notice Balance and pending refund share a word without overlap: every pair of values is read as it was written, and
    an amount that does not fit is rejected.
    """
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=amount)
    cheats._holds(amount <= state.COINS)
    extcall Serving(self.front).requestRefundAll(USER, PROVIDER)
    extcall Serving(self.front).depositFund(USER, PROVIDER, cancel)
    cheats._holds(staticcall Serving(self.front).lockedBalance(USER) == amount)
    cheats._holds(staticcall Serving(self.front).getPendingRefund(USER, PROVIDER) == amount - min(amount, cancel))


@external
def check_nothing_is_paid_before_the_lock_time(amount: uint256):
    """
    @notice A refund that is requested now pays nothing now, and does not change the balance.
    """
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=amount)
    extcall Serving(self.front).requestRefundAll(USER, PROVIDER)
    before: uint256 = self.balance
    paid: uint256 = 0
    balance: uint256 = 0
    pending: uint256 = 0
    paid, balance, pending = extcall Serving(self.front).processRefund(USER, PROVIDER)
    cheats._holds(paid == 0 and balance == amount and pending == amount)
    cheats._holds(self.balance == before)


@external
def check_a_refund_is_paid_in_full_from_the_lock_time_on_and_never_before(
    amount: uint256, waited: uint256
):
    """
    @notice After any wait, a refund is paid to the ledger in full or, before the lock time is over, not at all.
    """
    assert amount <= state.COINS and amount != 0 and waited < 2**32
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=amount)
    extcall Serving(self.front).requestRefundAll(USER, PROVIDER)
    cheats._warp(block.timestamp + waited)
    before: uint256 = self.balance
    paid: uint256 = 0
    balance: uint256 = 0
    pending: uint256 = 0
    paid, balance, pending = extcall Serving(self.front).processRefund(USER, PROVIDER)
    if waited >= world.LOCK:
        cheats._holds(paid == amount and balance == 0 and pending == 0)
    else:
        cheats._holds(paid == 0 and balance == amount and pending == amount)
    cheats._holds(self.balance == before + paid)


@external
def check_an_account_is_deleted_when_empty_and_keeps_its_nonce(
    word: uint256, first: uint256, second: uint256, third: uint256, amount: uint256
):
    """
    @notice In any state without refunds: deletion succeeds only without coins, keeps only the nonce, and a new account
    starts with that nonce.
    """
    are: state.Refunds = state.Refunds(first=first, second=second, third=third)
    before: uint256 = self._begin(word, are, 0)
    extcall Serving(self.front).deleteAccount(USER, PROVIDER)
    cheats._holds(before & state.COINS == 0)
    cheats._holds(self._word() == before & state.NONCE)
    cheats._holds(staticcall Serving(self.front).lockedBalance(USER) == 0)
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=amount)
    cheats._holds(self._word() == (before & state.NONCE) | amount | state.EXISTS | state.ACKNOWLEDGED)
    cheats._holds(self.front.balance == state.HELD + amount)


@external
def check_acknowledging_the_signer_changes_nothing_else(word: uint256, accepted: bool):
    """
    @notice Whatever the account's word is: acknowledging the signer and revoking it change only that bit and the flag
    and move no coins, and revoking succeeds only without coins.
    """
    extcall Serving(self.front).addAccount(USER, PROVIDER, "")
    cheats._store(self.front, self._place(USER), word)
    cheats._prank(USER)
    extcall Serving(self.front).acknowledgeTEESigner(PROVIDER, accepted)
    cheats._holds(accepted or word & state.COINS == 0)
    cheats._holds(word & state.EXISTS != 0)
    wanted: uint256 = word & ~(state.FLAG | state.ACKNOWLEDGED)
    if accepted:
        wanted |= state.ACKNOWLEDGED
    cheats._holds(self._word() == wanted)
    cheats._holds(self.front.balance == world.STAKE)


@external
def check_the_ledgers_calls_touch_no_other_users_account(
    user: address, other: address, word: uint256, which: uint256, amount: uint256, cancel: uint256
):
    """
    @notice For any two users with accounts with one provider: no call of the ledger for one, including deletion,
    changes the other's word, whatever it is.
    """
    assert user != other
    extcall Serving(self.front).addAccount(user, PROVIDER, "", value=amount)
    cheats._store(self.front, self._place(other), word)
    if which == 0:
        extcall Serving(self.front).depositFund(user, PROVIDER, cancel, value=cancel)
    elif which == 1:
        extcall Serving(self.front).requestRefundAll(user, PROVIDER)
    elif which == 2:
        extcall Serving(self.front).requestRefundAll(user, PROVIDER)
        cheats._warp(block.timestamp + world.LOCK)
        extcall Serving(self.front).processRefund(user, PROVIDER)
    else:
        extcall Serving(self.front).deleteAccount(user, PROVIDER)
    cheats._holds(cheats._load(self.front, self._place(other)) == word)


@external
def check_the_ledgers_calls_touch_no_account_with_another_provider(
    user: address, provider: address, other: address, which: uint256, amount: uint256, cancel: uint256, word: uint256
):
    """
    @notice For any user and any two providers: no call of the ledger for the user's account with one, including
    deletion, changes the word of the account with the other, whatever it is.
    """
    assert provider != other
    extcall Serving(self.front).addAccount(user, provider, "", value=amount)
    place: uint256 = cheats._slot(WORDS, state._key(user, other))
    cheats._store(self.front, place, word)
    if which == 0:
        extcall Serving(self.front).depositFund(user, provider, cancel, value=cancel)
    elif which == 1:
        extcall Serving(self.front).requestRefundAll(user, provider)
    elif which == 2:
        extcall Serving(self.front).requestRefundAll(user, provider)
        cheats._warp(block.timestamp + world.LOCK)
        extcall Serving(self.front).processRefund(user, provider)
    else:
        extcall Serving(self.front).deleteAccount(user, provider)
    cheats._holds(cheats._load(self.front, place) == word)


@external
def check_a_stake_is_booked_whole_and_once(coins: uint256, again: uint256, signer: address):
    """
    @notice A registration records all sent coins as the stake, with any signer, unconfirmed. Less than the minimum
    stake, more than 95 bits, and coins with a later change are rejected.
    """
    world._offer(self.front, OTHER_PROVIDER, coins, signer)
    cheats._holds(coins >= world.STAKE and coins < 2**95)
    cheats._holds(self._stake(OTHER_PROVIDER) == convert(signer, uint256) | (coins << 160))
    cheats._holds(self.front.balance == world.STAKE + coins)
    world._offer(self.front, OTHER_PROVIDER, again, SIGNER_TWO)
    cheats._holds(again == 0)
    cheats._holds(self._stake(OTHER_PROVIDER) == convert(SIGNER_TWO, uint256) | (coins << 160))


@external
def check_a_provider_gets_its_stake_back_once(coins: uint256, amount: uint256):
    """
    @notice The stake is returned in full, whatever it is, and only once; users' funds and another provider's stake do
    not change.
    """
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=amount)
    world._offer(self.front, OTHER_PROVIDER, coins, world.SIGNER)
    other: uint256 = self._stake(PROVIDER)
    before: uint256 = OTHER_PROVIDER.balance
    cheats._prank(OTHER_PROVIDER)
    raw_call(self.front, method_id("removeService()"))
    cheats._holds(OTHER_PROVIDER.balance == before + coins)
    cheats._holds(self.front.balance == amount + world.STAKE)
    cheats._holds(self._stake(OTHER_PROVIDER) == 0 and self._stake(PROVIDER) == other)
    cheats._holds(self._word() == amount | state.EXISTS | state.ACKNOWLEDGED)
    cheats._prank(OTHER_PROVIDER)
    again: bool = raw_call(self.front, method_id("removeService()"), revert_on_failure=False)
    cheats._holds(not again)


@external
def check_a_changed_signer_is_no_longer_confirmed(signer: address):
    """
    @notice If a confirmed provider registers any other signer, the confirmation is revoked and the stake is kept.
    """
    cheats._holds(self._stake(PROVIDER) >> 255 == 1)
    world._offer(self.front, PROVIDER, 0, signer)
    if signer != world.SIGNER:
        cheats._holds(self._stake(PROVIDER) == convert(signer, uint256) | (world.STAKE << 160))
    else:
        cheats._holds(self._stake(PROVIDER) >> 255 == 1)


@external
def check_only_the_ledger_calls_the_ledgers_functions(
    caller: address, which: uint256, user: address, provider: address, amount: uint256
):
    """
    @notice addAccount, depositFund, requestRefundAll, processRefund and deleteAccount revert for every caller but the
    ledger, including the owner, for all users, providers and amounts.
    """
    extcall Serving(self.front).addAccount(OTHER, PROVIDER, "", value=5)
    assert self._stranger(caller)
    cheats._prank(caller)
    cheats._holds(not raw_call(self.front, self._ledgers(which, user, provider, amount), revert_on_failure=False))


@external
def check_the_ledger_may_call_the_ledgers_functions(which: uint256, amount: uint256):
    """
    @notice The same calls succeed for the ledger, so others are rejected because of who they are.
    """
    assert amount < 2**91
    if which != 0:
        extcall Serving(self.front).addAccount(USER, PROVIDER, "")
    cheats._holds(raw_call(self.front, self._ledgers(which, USER, PROVIDER, amount), revert_on_failure=False))


@external
def check_only_the_owner_calls_the_owners_functions(
    caller: address, which: uint256, provider: address, to: address, number: uint256
):
    """
    @notice Confirming and revoking signers, the lock time and every ownership function revert for every caller but the
    owner, for all arguments.
    """
    assert self._stranger(caller) and which < 8
    cheats._prank(caller)
    cheats._holds(not raw_call(self.front, self._owners(which, provider, to, number), revert_on_failure=False))


@external
def check_the_owner_may_call_the_owners_functions(which: uint256, to: address, number: uint256):
    """
    @notice The same calls succeed for the owner, for every lock time from 1 hour to 7 days.
    """
    assert number >= 3600 and number <= 7 * 86400 and to != empty(address) and which < 7
    if which == 1:
        assert to == world.SIGNER
    cheats._holds(raw_call(self.front, self._owners(which, PROVIDER, to, number), revert_on_failure=False))


@external
def check_only_the_offered_owner_accepts_ownership(to: address, caller: address):
    """
    @notice Offered ownership moves if the offered address accepts, whichever it is, and for no other caller.
    """
    assert self._caller(caller)
    raw_call(self.front, abi_encode(to, method_id=method_id("offerOwnership(address)")))
    cheats._prank(caller)
    accepted: bool = raw_call(self.front, method_id("acceptOwnership()"), revert_on_failure=False)
    cheats._holds(accepted == (caller == to))
    owner: address = convert(cheats._load(self.front, {Serving:ownable.owner}), address)
    if accepted:
        cheats._holds(owner == to)
    else:
        cheats._holds(owner == self)


@external
def check_nobody_initializes_a_front_twice_or_an_implementation(
    caller: address, lock: uint256, ledger: address, owner: address, penalty: uint256
):
    """
    @notice A second initialisation of a front, and every initialisation of an implementation, reverts for every caller
    and all arguments.
    """
    assert self._caller(caller)
    for target: address in [self.front, self.implementation]:
        cheats._prank(caller)
        cheats._holds(
            not raw_call(
                target,
                abi_encode(lock, ledger, owner, method_id=method_id("initialize(uint256,address,address)")),
                revert_on_failure=False,
            )
        )
        cheats._prank(caller)
        cheats._holds(
            not raw_call(
                target,
                abi_encode(
                    lock, ledger, owner, penalty, method_id=method_id("initialize(uint256,address,address,uint256)")
                ),
                revert_on_failure=False,
            )
        )


@external
def check_plain_transfers_are_rejected(caller: address, coins: uint256):
    """
    @notice A payment without data reverts, for every sender and amount.
    """
    assert self._caller(caller)
    cheats._deal(caller, coins)
    cheats._prank(caller)
    cheats._holds(not raw_call(self.front, b"", value=coins, revert_on_failure=False))


@external
def check_planted_a_user_may_lose_the_nonce(word: uint256):
    """
    @notice False on purpose: in any state some nonce is set, and a deletion keeps it.
    """
    self._begin(word, empty(state.Refunds), 0)
    extcall Serving(self.front).deleteAccount(USER, PROVIDER)
    cheats._holds(self._word() == 0)


@internal
@pure
def _ledgers(which: uint256, user: address, provider: address, amount: uint256) -> Bytes[164]:
    if which == 0:
        return abi_encode(user, provider, "", method_id=method_id("addAccount(address,address,string)"))
    if which == 1:
        return abi_encode(user, provider, amount, method_id=method_id("depositFund(address,address,uint256)"))
    if which == 2:
        return abi_encode(user, provider, method_id=method_id("requestRefundAll(address,address)"))
    if which == 3:
        return abi_encode(user, provider, method_id=method_id("processRefund(address,address)"))
    return abi_encode(user, provider, method_id=method_id("deleteAccount(address,address)"))


@internal
@pure
def _owners(which: uint256, provider: address, to: address, number: uint256) -> Bytes[164]:
    if which == 0:
        return abi_encode(provider, method_id=method_id("acknowledgeTEESignerByOwner(address)"))
    if which == 1:
        return abi_encode(provider, to, method_id=method_id("acknowledgeTEESignerByOwner(address,address)"))
    if which == 2:
        return abi_encode(provider, method_id=method_id("revokeTEESignerAcknowledgement(address)"))
    if which == 3:
        return abi_encode(number, method_id=method_id("updateLockTime(uint256)"))
    if which == 4:
        return abi_encode(to, method_id=method_id("transferOwnership(address)"))
    if which == 5:
        return abi_encode(to, method_id=method_id("offerOwnership(address)"))
    if which == 6:
        return method_id("renounceOwnership()")
    return method_id("acceptOwnership()")


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
def _stake(provider: address) -> uint256:
    return cheats._load(self.front, cheats._slot(STAKES, convert(provider, uint256)))


@internal
@view
def _place(user: address) -> uint256:
    return cheats._slot(WORDS, state._key(user, PROVIDER))


@internal
@view
def _at_refunds() -> uint256:
    return cheats._slot(REFUNDS, state._key(USER, PROVIDER))


@internal
@view
def _caller(caller: address) -> bool:
    """
    @dev Anybody who can call: not the zero address, not the front's beacon, whose own code never does, and not the
         proof tool.
    """
    return caller != empty(address) and caller != self.beacon and caller != cheats.VM


@internal
@view
def _stranger(caller: address) -> bool:
    """
    @dev The same, but the ledger or owner that this contract is.
    """
    return self._caller(caller) and caller != self
