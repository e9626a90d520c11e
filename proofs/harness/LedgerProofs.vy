# pragma version 0.4.3
# pragma evm-version cancun
"""
@title What is proven of the ledger
@notice Owner of one ledger and, at the same time, a registered service that keeps no book and answers as it is told: it
        says what it likes about accounts, sends home what it likes and reports what it likes. Arguments of `check_`
        functions are any values at all.
"""

from . import cheats

CODE: constant(Bytes[32768]) = x"00{LedgerManager}"

USER: constant(address) = 0x1000000000000000000000000000000000000001
OTHER: constant(address) = 0x1000000000000000000000000000000000000002
PROVIDER: constant(address) = 0x2000000000000000000000000000000000000001
MINIMUM: constant(uint256) = 3 * 10**18
LEAST: constant(uint256) = 10**18

front: address
opened: bool
sends: uint256
reports: uint256


interface Ledger:
    def initialize(owner: address): nonpayable
    def registerService(kind: String[8], version: String[8], service: address, text: String[8]): nonpayable
    def depositFund(): payable
    def depositFundFor(recipient: address): payable
    def refund(amount: uint256): nonpayable
    def refundAll(): nonpayable
    def transferFund(provider: address, name: String[17], amount: uint256): nonpayable
    def retrieveFund(providers: DynArray[address, 1], name: String[17]): nonpayable
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
    implementation: address = raw_create(slice(CODE, 1, len(CODE) - 1))
    self.front = create_minimal_proxy_to(implementation)
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
    return 0


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
    if self.sends != 0:
        raw_call(self.front, b"", value=self.sends)
    return self.reports, 0, 0


@external
def requestRefundAll(user: address, provider: address):
    pass


# What must hold


@external
def check_a_deposit_is_available_to_the_recipient_and_nobody_else(amount: uint256, more: uint256):
    """
    @notice What is sent is available, to the wei; another user's ledger does not change; the ledger holds both.
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
    @notice The wallet gains what available loses; what remains is nothing or at least the minimum; others keep theirs.
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
def check_a_transfer_gives_the_service_what_available_loses(amount: uint256, moved: uint256):
    """
    @notice Coins move from available into the service, none appear or vanish, and total stays what it was.
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
    @notice Whatever a service sends and reports: what is credited arrived in this call, or the call fails.
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
    @notice All that a service reports as spent is at most what was transferred to it; no available coin is touched.
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
def check_only_a_registered_service_spends_or_sends_coins_home(caller: address, amount: uint256):
    """
    @notice spendFund and a plain payment revert for everybody who is not a registered service.
    """
    assert caller != self and caller != cheats.VM
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
def check_only_the_owner_keeps_the_registry(caller: address, which: uint256, to: address):
    """
    @notice Registering, recommending and every step of the ownership revert for everybody else.
    """
    assert caller != self and caller != cheats.VM
    data: Bytes[324] = b""
    if which == 0:
        data = abi_encode("t", "v", to, "", method_id=method_id("registerService(string,string,address,string)"))
    elif which == 1:
        data = abi_encode("s", "v", method_id=method_id("setRecommendedService(string,string)"))
    elif which == 2:
        data = abi_encode(to, method_id=method_id("transferOwnership(address)"))
    elif which == 3:
        data = abi_encode(to, method_id=method_id("offerOwnership(address)"))
    elif which == 4:
        data = method_id("renounceOwnership()")
    else:
        data = abi_encode(to, method_id=method_id("initialize(address)"))
    cheats._prank(caller)
    done: bool = raw_call(self.front, data, revert_on_failure=False)
    cheats._holds(not done)


@external
def check_planted_reports_are_believed(amount: uint256, reports: uint256):
    """
    @notice False on purpose: nothing was sent, so a report of more than nothing is refused.
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
def _deposit(user: address, amount: uint256):
    cheats._prank(user)
    extcall Ledger(self.front).depositFund(value=amount)


@internal
@view
def _available(user: address) -> uint256:
    found: View = staticcall Ledger(self.front).getLedger(user)
    return found.available


@internal
@pure
def _one() -> DynArray[address, 1]:
    return [PROVIDER]
