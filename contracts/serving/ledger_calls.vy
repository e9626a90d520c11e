# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Functions that only the ledger may call
@custom:contract-name ledger_calls
@license Apache-2.0
@author Serving Network maintainers
@notice Opens and funds accounts and requests refunds. Both services export these functions. Payouts of refunds and
        deletion are in each service, because their errors or effects differ.
@dev The error for other callers differs on the wire: inference names the caller, fine-tuning does not. Each service
     passes its error to the constructor.
@custom:risk Whoever is `ledgerAddress` can move all balances to itself after the lock time.
@custom:mitigation A service is initialized with its ledger once; only an upgrade changes it.
"""

from . import accounts
from . import errors

uses: accounts

# @dev The selector of the error for other callers; the bit above it is set if the error names the caller.
NAMES_CALLER: constant(uint256) = 2**32

REFUSAL: immutable(uint256)


@deploy
def __init__(selector: bytes4, names_caller: bool):
    """
    @param selector The error for callers other than the ledger.
    @param names_caller Whether that error has the caller's address as its argument.
    """
    refusal: uint256 = convert(selector, uint256)
    if names_caller:
        refusal |= NAMES_CALLER
    REFUSAL = refusal


@external
@payable
def addAccount(user: address, provider: address, additionalInfo: String[accounts.MAX_INFO_DECODED]):
    """
    @notice Opens an account with the coins sent and acknowledges the provider's TEE signer.
    @dev Only the ledger. Reverts with `CallerNotLedger`, `AdditionalInfoTooLong`, `InvalidAddress`,
         `ProviderCannotBeUser`, `AccountExists`, `AmountTooLarge`. Emits `BalanceUpdated`.
    """
    self._check_ledger()
    if len(additionalInfo) > accounts.MAX_INFO:
        errors._additional_info_too_long()
    accounts._open(user, provider, msg.value, additionalInfo)


@external
@payable
def depositFund(user: address, provider: address, cancelRetrievingAmount: uint256):
    """
    @notice Adds the coins sent, cancels up to `cancelRetrievingAmount` wei of requested refunds (newest first), and
            acknowledges the provider's TEE signer. Counts as an action of the user.
    @dev Only the ledger. Reverts with `CallerNotLedger`, `InvalidAddress`, `ProviderCannotBeUser`,
         `AccountNotExists`, `AmountTooLarge`. Emits `BalanceUpdated`.
    """
    self._check_ledger()
    accounts._deposit(user, provider, msg.value, cancelRetrievingAmount)


@external
def requestRefundAll(user: address, provider: address):
    """
    @notice Requests a refund of everything that is not requested yet. If five refunds are active, the amount is added
            to the newest one and its lock time restarts.
    @dev Only the ledger. Reverts with `CallerNotLedger`, `AccountNotExists`. Emits `RefundRequested` if any refund is
         active.
    """
    self._check_ledger()
    accounts._request_refund(user, provider)


@internal
@view
def _check_ledger():
    """
    @dev Reverts with the service's `CallerNotLedger` unless the caller is the ledger.
    """
    if msg.sender != accounts.ledgerAddress:
        if REFUSAL >= NAMES_CALLER:
            errors._numbered(REFUSAL, convert(msg.sender, uint256))
        errors._bare(REFUSAL)
