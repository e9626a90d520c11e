# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize none
"""
@title A service that others wrote
@notice Takes coins and gives them back at the second request, without a lock time; with a book of its own or without.
        What it does beside that is its manner, which anybody sets.
"""

interface Ledger:
    def spendFund(user: address, amount: uint256): nonpayable


# What came of calling the ledger back.
event Answered:
    success: bool


HONEST: constant(uint8) = 0
# Reports one wei more than it sends.
LIAR: constant(uint8) = 1
# Says nothing, whatever it is asked.
SILENT: constant(uint8) = 2
# Refuses with a reason.
RUDE: constant(uint8) = 3
# Does not delete accounts.
STUBBORN: constant(uint8) = 4
# Gives nothing back.
KEEPER: constant(uint8) = 5
# Reports a payment of somebody's from within every call of the ledger's.
CALLER: constant(uint8) = 6
# Claims to hold more than there is.
BRAGGART: constant(uint8) = 7

# Of one account, so that a ledger can take everything back.
MOST: constant(uint256) = 2**92 - 1
MAX_PROVIDERS: constant(uint256) = 64

_ledger: address
_book: bool
_manner: uint8
_victim: address
_amount: uint256
_exists: HashMap[address, HashMap[address, bool]]
_balances: HashMap[address, HashMap[address, uint256]]
_asked: HashMap[address, HashMap[address, uint256]]
_providers: HashMap[address, DynArray[address, MAX_PROVIDERS]]


@deploy
def __init__(ledger: address, book: bool):
    self._ledger = ledger
    self._book = book


@external
def behave(manner: uint8, victim: address, amount: uint256):
    self._manner = manner
    self._victim = victim
    self._amount = amount


@external
@view
def supportsInterface(id: bytes4) -> bool:
    self._answer()
    return id == 0x01ffc9a7 or id == 0x160841b1 or (self._book and id == 0x1ffc15d2)


@external
@view
def accountExists(user: address, provider: address) -> bool:
    self._answer()
    return self._exists[user][provider]


@external
@view
def getPendingRefund(user: address, provider: address) -> uint256:
    self._answer()
    if self._book and not self._exists[user][provider]:
        raw_revert(b"")
    return self._asked[user][provider]


@external
@view
def lockedBalance(user: address) -> uint256:
    self._answer()
    if self._manner == BRAGGART:
        return max_value(uint256)
    total: uint256 = 0
    for provider: address in self._providers[user]:
        total += self._balances[user][provider]
    return total


@external
@view
def providerCount(user: address) -> uint256:
    self._answer()
    return len(self._providers[user])


@external
@view
def providersOf(user: address) -> DynArray[address, MAX_PROVIDERS]:
    self._answer()
    return self._providers[user]


@external
@payable
def addAccount(user: address, provider: address, info: String[4096]):
    self._act()
    self._exists[user][provider] = True
    assert msg.value <= MOST, "too much"
    self._balances[user][provider] = msg.value
    self._asked[user][provider] = 0
    self._providers[user].append(provider)


@external
@payable
def depositFund(user: address, provider: address, cancel: uint256):
    self._act()
    self._balances[user][provider] += msg.value
    assert self._balances[user][provider] <= MOST, "too much"
    self._asked[user][provider] -= min(cancel, self._asked[user][provider])


@external
def requestRefundAll(user: address, provider: address):
    self._act()
    self._asked[user][provider] = self._balances[user][provider]


@external
def processRefund(user: address, provider: address) -> (uint256, uint256, uint256):
    self._act()
    paid: uint256 = self._asked[user][provider]
    if self._manner == KEEPER:
        paid = 0
    self._asked[user][provider] -= paid
    self._balances[user][provider] -= paid
    if paid != 0:
        raw_call(msg.sender, b"", value=paid)
    reported: uint256 = paid
    if self._manner == LIAR:
        reported += 1
    return reported, self._balances[user][provider], self._asked[user][provider]


@external
def deleteAccount(user: address, provider: address):
    self._act()
    assert self._manner != STUBBORN, "never"
    if self._exists[user][provider]:
        self._exists[user][provider] = False
        at: uint256 = 0
        for i: uint256 in range(len(self._providers[user]), bound=MAX_PROVIDERS):
            if self._providers[user][i] == provider:
                at = i
        last: address = self._providers[user].pop()
        if last != provider:
            self._providers[user][at] = last


@external
def spend(user: address, provider: address, amount: uint256):
    """
    @notice Pay the caller out of an account, and tell the ledger, where it keeps the book.
    """
    assert amount <= self._balances[user][provider], "not that much"
    self._balances[user][provider] -= amount
    self._asked[user][provider] = min(self._asked[user][provider], self._balances[user][provider])
    if not self._book:
        extcall Ledger(self._ledger).spendFund(user, amount)
    raw_call(msg.sender, b"", value=amount)


@internal
@view
def _answer():
    if self._manner == SILENT:
        raw_revert(b"")


@internal
def _act():
    self._answer()
    assert self._manner != RUDE, "not today"
    if self._manner == CALLER:
        success: bool = raw_call(
            self._ledger,
            abi_encode(self._victim, self._amount, method_id=method_id("spendFund(address,uint256)")),
            revert_on_failure=False,
        )
        log Answered(success=success)
