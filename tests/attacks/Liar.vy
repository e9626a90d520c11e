# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize none
"""
@title A service that others wrote, and that lies
@notice It keeps no book, takes coins like a service, sends home and reports what it is told, refuses to delete, and calls
        the ledger back from within whatever the ledger asks of it.
"""

MAX_CALL: constant(uint256) = 4096

ledger: address
sends: uint256
reports: uint256
exists: public(bool)
stubborn: bool
call: Bytes[MAX_CALL]
answered: public(DynArray[bool, 32])


@deploy
def __init__(ledger: address):
    self.ledger = ledger


@external
@payable
def __default__():
    pass


@external
def plan(sends: uint256, reports: uint256, stubborn: bool, call: Bytes[MAX_CALL]):
    self.sends = sends
    self.reports = reports
    self.stubborn = stubborn
    self.call = call


@external
@view
def supportsInterface(id: bytes4) -> bool:
    return id == 0x01ffc9a7 or id == 0x160841b1


@external
@view
def accountExists(user: address, provider: address) -> bool:
    return self.exists


@external
@view
def getPendingRefund(user: address, provider: address) -> uint256:
    return 0


@external
@payable
def addAccount(user: address, provider: address, info: String[4096]):
    self.exists = True
    self._call_back()


@external
@payable
def depositFund(user: address, provider: address, cancel: uint256):
    self._call_back()


@external
def requestRefundAll(user: address, provider: address):
    self._call_back()


@external
def processRefund(user: address, provider: address) -> (uint256, uint256, uint256):
    self._call_back()
    if self.sends != 0:
        raw_call(self.ledger, b"", value=self.sends)
    return self.reports, 0, 0


@external
def deleteAccount(user: address, provider: address):
    self._call_back()
    assert not self.stubborn
    self.exists = False


@external
def spend(user: address, amount: uint256):
    """
    @notice Report to the ledger that coins of the user's are spent.
    """
    raw_call(
        self.ledger, abi_encode(user, amount, method_id=method_id("spendFund(address,uint256)"))
    )


@internal
def _call_back():
    if len(self.call) != 0:
        self.answered.append(raw_call(self.ledger, self.call, revert_on_failure=False))
