# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title What is proven of the ledger
@notice Owner of one ledger and, at the same time, a registered service that keeps no book and answers as it is told: it
        says what it likes about accounts, sends home what it likes and reports what it likes. Arguments of `check_`
        functions are any values at all.
"""

from . import cheats
from . import world

CODE: constant(Bytes[32768]) = x"00{LedgerManager}"

USER: constant(address) = 0x1000000000000000000000000000000000000001
OTHER: constant(address) = 0x1000000000000000000000000000000000000002
PROVIDER: constant(address) = 0x2000000000000000000000000000000000000001
OTHER_PROVIDER: constant(address) = 0x2000000000000000000000000000000000000002
MINIMUM: constant(uint256) = 3 * 10**18
LEAST: constant(uint256) = 10**18

COINS: constant(uint256) = 2**96 - 1
WORDS: constant(uint256) = {LedgerManager:_words}
SERVICES: constant(uint256) = ((2**118 - 1) << 136) | 2**255
DESCRIBED: constant(uint256) = 2**254

front: address
beacon: address
implementation: address
opened: bool
pending: uint256
sends: uint256
reports: uint256
sends_other: uint256
reports_other: uint256


interface Ledger:
    def initialize(owner: address): nonpayable
    def registerService(kind: String[8], version: String[8], service: address, text: String[8]): nonpayable
    def addLedger(info: String[8]) -> (uint256, uint256): payable
    def deleteLedger(): nonpayable
    def depositFund(): payable
    def depositFundFor(recipient: address): payable
    def refund(amount: uint256): nonpayable
    def refundAll(): nonpayable
    def transferFund(provider: address, name: String[17], amount: uint256): nonpayable
    def retrieveFund(providers: DynArray[address, 2], name: String[17]): nonpayable
    def spendFund(user: address, amount: uint256): nonpayable
    def getLedger(user: address) -> View: view


struct View:
    user: address
    available: uint256
    total: uint256
    info: String[32]


@deploy
@payable
def __init__():
    self.implementation = raw_create(slice(CODE, 1, len(CODE) - 1))
    self.front, self.beacon = world._front(self.implementation)
    extcall Ledger(self.front).initialize(self)


@external
def setUp():
    extcall Ledger(self.front).registerService("s", "v", self, "")
    cheats._deal(USER, 2**100)
    cheats._deal(OTHER, 2**100)


@external
@payable
def __default__():
    pass


# The service


@external
@view
def supportsInterface(id: bytes4) -> bool:
    return id == 0x01ffc9a7 or id == 0x160841b1


@external
@view
def accountExists(user: address, provider: address) -> bool:
    return self.opened


@external
@view
def getPendingRefund(user: address, provider: address) -> uint256:
    return self.pending


@external
@payable
def addAccount(user: address, provider: address, info: String[4096]):
    self.opened = True


@external
@payable
def depositFund(user: address, provider: address, cancel: uint256):
    pass


@external
def processRefund(user: address, provider: address) -> (uint256, uint256, uint256):
    sends: uint256 = self.sends
    reports: uint256 = self.reports
    if provider == OTHER_PROVIDER:
        sends = self.sends_other
        reports = self.reports_other
    if sends != 0:
        raw_call(self.front, b"", value=sends)
    return reports, 0, 0


@external
def requestRefundAll(user: address, provider: address):
    pass


# What must hold


@external
def check_a_deposit_is_available_to_the_recipient_and_nobody_else(amount: uint256, more: uint256):
    """
    @notice A deposit becomes available to the wei; another user's ledger does not change; the ledger holds both.
    """
    self._deposit(OTHER, MINIMUM)
    self._deposit(USER, amount)
    cheats._prank(OTHER)
    extcall Ledger(self.front).depositFundFor(USER, value=more)
    cheats._holds(self._available(USER) == amount + more)
    cheats._holds(self._available(OTHER) == MINIMUM)
    cheats._holds(self.front.balance == MINIMUM + amount + more)


@external
def check_a_refund_pays_the_wallet_what_it_takes_from_the_ledger(amount: uint256, part: uint256):
    """
    @notice The wallet gains what the available balance loses; zero or at least the minimum remains; other users'
    balances do not change.
    """
    self._deposit(OTHER, MINIMUM)
    self._deposit(USER, amount)
    wallet: uint256 = USER.balance
    cheats._prank(USER)
    extcall Ledger(self.front).refund(part)
    cheats._holds(USER.balance == wallet + part)
    cheats._holds(part <= amount)
    cheats._holds(part == amount or amount - part >= MINIMUM)
    cheats._holds(self.front.balance == MINIMUM + amount - part)
    cheats._holds(self._available(OTHER) == MINIMUM)
    if part != amount:
        cheats._holds(self._available(USER) == amount - part)


@external
def check_a_transfer_gives_the_service_what_it_takes_from_available(amount: uint256, moved: uint256):
    """
    @notice Coins move from the available balance to the service, no coin is created or lost, and the total does not
    change.
    """
    self._deposit(OTHER, MINIMUM)
    self._deposit(USER, amount)
    before: uint256 = self.balance
    cheats._prank(USER)
    extcall Ledger(self.front).transferFund(PROVIDER, "s-v", moved)
    cheats._holds(moved >= LEAST and moved <= amount)
    cheats._holds(self.balance == before + moved)
    cheats._holds(self.front.balance == MINIMUM + amount - moved)
    after: View = staticcall Ledger(self.front).getLedger(USER)
    cheats._holds(after.available == amount - moved)
    cheats._holds(after.total == amount)
    cheats._holds(self._available(OTHER) == MINIMUM)


@external
def check_only_coins_that_arrive_are_credited(amount: uint256, sends: uint256, reports: uint256):
    """
    @notice Whatever a service sends and reports: the ledger credits what arrived in this call, or the call fails.
    """
    self._deposit(OTHER, MINIMUM)
    self._deposit(USER, amount)
    self.opened = True
    self.sends = sends
    self.reports = reports
    cheats._prank(USER)
    extcall Ledger(self.front).retrieveFund([PROVIDER], "s-v")
    cheats._holds(sends == reports)
    cheats._holds(self._available(USER) == amount + sends)
    cheats._holds(self.front.balance == MINIMUM + amount + sends)
    cheats._holds(self._available(OTHER) == MINIMUM)


@external
def check_a_service_spends_only_what_it_was_given_for_that_user(moved: uint256, spent: uint256, again: uint256):
    """
    @notice A service can report at most the coins that were transferred to it as spent; available coins do not change.
    """
    self._deposit(USER, 2**90)
    cheats._prank(USER)
    extcall Ledger(self.front).transferFund(PROVIDER, "s-v", moved)
    extcall Ledger(self.front).spendFund(USER, spent)
    extcall Ledger(self.front).spendFund(USER, again)
    cheats._holds(spent <= moved and again <= moved - spent)
    after: View = staticcall Ledger(self.front).getLedger(USER)
    cheats._holds(after.available == 2**90 - moved)
    cheats._holds(after.total == 2**90 - spent - again)


@external
def check_only_a_registered_service_spends_or_returns_coins(caller: address, amount: uint256):
    """
    @notice spendFund and plain payments revert for every caller that is not a registered service.
    """
    assert self._stranger(caller)
    self._deposit(USER, MINIMUM)
    cheats._prank(caller)
    done: bool = raw_call(
        self.front,
        abi_encode(USER, amount, method_id=method_id("spendFund(address,uint256)")),
        revert_on_failure=False,
    )
    cheats._holds(not done)
    cheats._deal(caller, 1)
    cheats._prank(caller)
    done = raw_call(self.front, b"", value=1, revert_on_failure=False)
    cheats._holds(not done)


@external
def check_only_the_owner_changes_the_registry(caller: address, which: uint256, to: address):
    """
    @notice Registering, recommending and every ownership function revert for every caller but the owner.
    """
    assert self._stranger(caller)
    cheats._prank(caller)
    cheats._holds(not raw_call(self.front, self._owners(which, to), revert_on_failure=False))


@external
def check_adding_a_ledger_books_once_what_was_sent(amount: uint256, more: uint256):
    """
    @notice addLedger makes the sent amount available, at least the minimum and at most 96 bits; a second call is
    rejected; other ledgers do not change.
    """
    self._deposit(OTHER, MINIMUM)
    cheats._deal(USER, 2**110)
    cheats._prank(USER)
    extcall Ledger(self.front).addLedger("i", value=amount)
    cheats._holds(amount >= MINIMUM and amount <= COINS)
    cheats._holds(self._available(USER) == amount)
    cheats._holds(self._available(OTHER) == MINIMUM)
    cheats._holds(self.front.balance == MINIMUM + amount)
    cheats._prank(USER)
    again: bool = raw_call(
        self.front, abi_encode("i", method_id=method_id("addLedger(string)")), value=more, revert_on_failure=False
    )
    cheats._holds(not again)


@external
def check_a_deposit_changes_only_available(word: uint256, amount: uint256):
    """
    @notice Whatever the user's word is: a deposit adds the sent amount to the lowest 96 bits and does not change
    position, services and flags; an amount that does not fit is rejected.
    """
    self._deposit(USER, MINIMUM)
    assert (word >> 96) & (2**40 - 1) != 0
    cheats._store(self.front, self._place(USER), word)
    cheats._deal(OTHER, 2**110)
    cheats._prank(OTHER)
    extcall Ledger(self.front).depositFundFor(USER, value=amount)
    cheats._holds(amount != 0 and (word & COINS) + amount <= COINS)
    cheats._holds(self._word(USER) == word + amount)
    cheats._holds(self.front.balance == MINIMUM + amount)


@external
def check_every_field_of_the_word_reads_as_stored(word: uint256):
    """
    @notice The available balance is read from its 96 bits, and a ledger exists if the position is not zero, whatever
    the other bits are that name no service.
    """
    assert word & SERVICES == 0
    cheats._store(self.front, self._place(USER), word)
    exists: bool = False
    answer: Bytes[256] = b""
    exists, answer = raw_call(
        self.front,
        abi_encode(USER, method_id=method_id("getLedger(address)")),
        max_outsize=256,
        is_static_call=True,
        revert_on_failure=False,
    )
    cheats._holds(exists == ((word >> 96) & (2**40 - 1) != 0))
    if exists:
        cheats._holds(convert(extract32(answer, 64), uint256) == word & COINS)
        cheats._holds(convert(extract32(answer, 96), uint256) == word & COINS)


@external
def check_refund_all_pays_everything_available(amount: uint256, moved: uint256):
    """
    @notice refundAll pays exactly the available balance and leaves none; the funds in services still count.
    """
    self._deposit(OTHER, MINIMUM)
    self._deposit(USER, amount)
    if moved != 0:
        cheats._prank(USER)
        extcall Ledger(self.front).transferFund(PROVIDER, "s-v", moved)
    wallet: uint256 = USER.balance
    cheats._prank(USER)
    extcall Ledger(self.front).refundAll()
    cheats._holds(USER.balance == wallet + amount - moved)
    cheats._holds(self.front.balance == MINIMUM)
    cheats._holds(self._available(OTHER) == MINIMUM)
    cheats._holds(self._word(USER) & COINS == 0)
    if moved != 0:
        after: View = staticcall Ledger(self.front).getLedger(USER)
        cheats._holds(after.available == 0 and after.total == moved)


@external
def check_a_ledger_is_deleted_only_when_no_money_is_left(moved: uint256, spent: uint256, more: uint256):
    """
    @notice deleteLedger succeeds only if nothing is available or locked in a service; it moves no coins and removes
    this ledger's position only.
    """
    self._deposit(OTHER, MINIMUM)
    self._deposit(USER, 2**90)
    cheats._prank(USER)
    extcall Ledger(self.front).transferFund(PROVIDER, "s-v", moved)
    cheats._prank(USER)
    extcall Ledger(self.front).refundAll()
    extcall Ledger(self.front).spendFund(USER, spent)
    if more != 0:
        self._deposit(USER, more)
    held: uint256 = self.front.balance
    cheats._prank(USER)
    extcall Ledger(self.front).deleteLedger()
    cheats._holds(spent == moved and more == 0)
    cheats._holds(self._word(USER) & (2**136 - 1) == 0)
    cheats._holds(self.front.balance == held)
    cheats._holds(self._available(OTHER) == MINIMUM)


@external
def check_updating_the_text_moves_no_coins(word: uint256, described: bool):
    """
    @notice Whatever the user's word is: updateAdditionalInfo changes only the bit that says whether there is a text.
    """
    assert (word >> 96) & (2**40 - 1) != 0
    cheats._store(self.front, self._place(USER), word)
    text: String[1] = ""
    if described:
        text = "i"
    cheats._prank(USER)
    raw_call(self.front, abi_encode(text, method_id=method_id("updateAdditionalInfo(string)")))
    cheats._holds(self._word(USER) & ~DESCRIBED == word & ~DESCRIBED)
    cheats._holds((self._word(USER) & DESCRIBED != 0) == described)


@external
def check_a_later_transfer_uses_pending_refunds_first(amount: uint256, moved: uint256, pending: uint256):
    """
    @notice Transfer to an existing account: the pending refunds that the service reports are used first, and only the
    rest moves; whatever it reports, the service gains what the available balance loses.
    """
    self._deposit(OTHER, MINIMUM)
    self._deposit(USER, amount)
    self.opened = True
    self.pending = pending
    before: uint256 = self.balance
    cheats._prank(USER)
    extcall Ledger(self.front).transferFund(PROVIDER, "s-v", moved)
    coins: uint256 = moved - min(moved, pending)
    cheats._holds(coins <= amount)
    cheats._holds(self.balance == before + coins)
    cheats._holds(self.front.balance == MINIMUM + amount - coins)
    cheats._holds(self._available(USER) == amount - coins)
    cheats._holds(self._available(OTHER) == MINIMUM)


@external
def check_coins_of_two_providers_are_credited_once_each(
    sends: uint256, more: uint256, reports: uint256, early: uint256, twice: bool
):
    """
    @notice Two providers in one retrieval, or one provider twice: what arrived for each is credited; what the service
    sent earlier in the same transaction is credited to nobody.
    """
    self._deposit(OTHER, MINIMUM)
    self._deposit(USER, MINIMUM)
    self.opened = True
    self.sends = sends
    self.reports = sends
    self.sends_other = more
    self.reports_other = reports
    if early != 0:
        raw_call(self.front, b"", value=early)
    second: address = OTHER_PROVIDER
    if twice:
        second = PROVIDER
    cheats._prank(USER)
    extcall Ledger(self.front).retrieveFund([PROVIDER, second], "s-v")
    if twice:
        cheats._holds(self._available(USER) == MINIMUM + 2 * sends)
    else:
        cheats._holds(more == reports)
        cheats._holds(self._available(USER) == MINIMUM + sends + more)
    cheats._holds(self.front.balance == early + self._available(USER) + MINIMUM)
    cheats._holds(self._available(OTHER) == MINIMUM)


@external
def check_a_deposit_for_a_user_touches_no_other_user(
    recipient: address, other: address, word: uint256, amount: uint256
):
    """
    @notice For any two users: a deposit for one does not change the other's word, whatever it is.
    """
    assert recipient != other
    cheats._store(self.front, self._place(other), word)
    cheats._prank(USER)
    extcall Ledger(self.front).depositFundFor(recipient, value=amount)
    cheats._holds(self._word(other) == word)
    cheats._holds(self._word(recipient) & COINS == amount)


@external
def check_nobody_moves_the_coins_of_another(other: address, word: uint256, which: uint256, amount: uint256):
    """
    @notice No call on the caller's ledger changes the word of any other address, whatever it is.
    """
    assert other != USER
    self._deposit(USER, 2**90)
    cheats._store(self.front, self._place(other), word)
    cheats._prank(USER)
    if which == 0:
        extcall Ledger(self.front).refund(amount)
    elif which == 1:
        extcall Ledger(self.front).transferFund(PROVIDER, "s-v", amount)
    else:
        self.opened = True
        self.sends = amount
        self.reports = amount
        extcall Ledger(self.front).retrieveFund([PROVIDER], "s-v")
    cheats._holds(self._word(other) == word)


@external
def check_the_owner_may_change_the_registry(which: uint256, to: address):
    """
    @notice The same calls succeed for the owner, so others are rejected because of who they are.
    """
    assert which < 5 and which != 0 and to != empty(address)
    cheats._holds(raw_call(self.front, self._owners(which, to), revert_on_failure=False))


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
    owner: uint256 = cheats._load(self.front, {LedgerManager:ownable.owner})
    if accepted:
        cheats._holds(owner == convert(to, uint256))
    else:
        cheats._holds(owner == convert(self, uint256))


@external
def check_nobody_initializes_a_front_twice_or_an_implementation(caller: address, owner: address):
    """
    @notice A second initialisation of a front, and every initialisation of an implementation, reverts for every caller
    and owner.
    """
    assert self._caller(caller)
    data: Bytes[36] = abi_encode(owner, method_id=method_id("initialize(address)"))
    cheats._prank(caller)
    cheats._holds(not raw_call(self.front, data, revert_on_failure=False))
    cheats._prank(caller)
    cheats._holds(not raw_call(self.implementation, data, revert_on_failure=False))


@external
def check_planted_a_transfer_ignores_pending_refunds(moved: uint256, pending: uint256):
    """
    @notice False on purpose: pending refunds are used first.
    """
    self._deposit(USER, 2**90)
    self.opened = True
    self.pending = pending
    before: uint256 = self.balance
    cheats._prank(USER)
    extcall Ledger(self.front).transferFund(PROVIDER, "s-v", moved)
    cheats._holds(self.balance == before + moved)


@external
def check_planted_reports_are_trusted(amount: uint256, reports: uint256):
    """
    @notice False on purpose: nothing was sent, so a report of any amount is rejected.
    """
    self._deposit(USER, amount)
    self.opened = True
    self.reports = reports
    cheats._prank(USER)
    cheats._holds(
        raw_call(
            self.front,
            abi_encode(self._one(), "s-v", method_id=method_id("retrieveFund(address[],string)")),
            revert_on_failure=False,
        )
    )


@internal
@pure
def _owners(which: uint256, to: address) -> Bytes[324]:
    if which == 0:
        return abi_encode("t", "v", to, "", method_id=method_id("registerService(string,string,address,string)"))
    if which == 1:
        return abi_encode("s", "v", method_id=method_id("setRecommendedService(string,string)"))
    if which == 2:
        return abi_encode(to, method_id=method_id("transferOwnership(address)"))
    if which == 3:
        return abi_encode(to, method_id=method_id("offerOwnership(address)"))
    return method_id("renounceOwnership()")


@internal
def _deposit(user: address, amount: uint256):
    cheats._prank(user)
    extcall Ledger(self.front).depositFund(value=amount)


@internal
@view
def _available(user: address) -> uint256:
    found: View = staticcall Ledger(self.front).getLedger(user)
    return found.available


@internal
def _word(user: address) -> uint256:
    return cheats._load(self.front, self._place(user))


@internal
@view
def _place(user: address) -> uint256:
    return cheats._slot(WORDS, convert(user, uint256))


@internal
@pure
def _one() -> DynArray[address, 1]:
    return [PROVIDER]


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
