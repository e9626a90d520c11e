# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Functions that only the ledger may call
"""

from . import accounts
from . import errors

uses: accounts

# @dev The error for any other caller: its selector, and its size in bytes, 4 or, with the caller as argument, 36.
NAMES_CALLER: constant(uint256) = 2**32

REFUSAL: immutable(uint256)


@deploy
def __init__(selector: bytes4, names_caller: bool):
    refusal: uint256 = convert(selector, uint256)
    if names_caller:
        refusal |= NAMES_CALLER
    REFUSAL = refusal


@external
@payable
def addAccount(user: address, provider: address, additionalInfo: String[accounts.MAX_INFO_DECODED]):
    self._check_ledger()
    if len(additionalInfo) > accounts.MAX_INFO:
        errors._additional_info_too_long()
    accounts._open(user, provider, msg.value, additionalInfo)


@external
@payable
def depositFund(user: address, provider: address, cancelRetrievingAmount: uint256):
    self._check_ledger()
    accounts._deposit(user, provider, msg.value, cancelRetrievingAmount)


@external
def requestRefundAll(user: address, provider: address):
    self._check_ledger()
    accounts._request_refund(user, provider)


@internal
@view
def _check_ledger():
    if msg.sender != accounts.ledgerAddress:
        if REFUSAL >= NAMES_CALLER:
            errors._numbered(REFUSAL, convert(msg.sender, uint256))
        errors._bare(REFUSAL)
