# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Inference serving
@custom:contract-name InferenceServing
@license Apache-2.0
@author Serving Network maintainers
@notice Providers register with a stake and are paid from the users' accounts exactly what their TEE signed. One call
        settles many users: `settleFeesWithTEE` with one signature per user, `settleBatchWithTEE` with one signature
        for all.
@dev State changes precede payouts, and a payout cannot start another. Nothing depends on `self.balance`: coins forced
     in belong to nobody.
@custom:risk A user acknowledges a provider, as every transfer of funds does, whose signer the owner acknowledged
        although it is not a TEE. At risk is the balance of the account with that provider.
@custom:mitigation The owner calls `revokeTEESignerAcknowledgement`, which stops that provider's settlements at once.
"""

from ..serving import accounts
from ..serving import blobs
from ..serving import errors as shared_errors
from ..serving import initializable
from ..serving import ledger_calls
from ..serving import lists
from ..serving import ownable
from ..serving import payouts
from ..serving import services
from ..serving import tee
from . import batches
from . import inference_errors as errors
from . import offers
from . import tokens

initializes: ownable
initializes: initializable
initializes: blobs
initializes: lists
initializes: accounts[blobs := blobs, lists := lists]
initializes: ledger_calls[accounts := accounts]
initializes: services[lists := lists, ownable := ownable]
initializes: offers[blobs := blobs, services := services]
initializes: payouts
initializes: batches
initializes: tokens

exports: (
    ownable.owner,
    ownable.pendingOwner,
    ownable.transferOwnership,
    ownable.renounceOwnership,
    ownable.offerOwnership,
    ownable.acceptOwnership,
    initializable.initialized,
    accounts.ledgerAddress,
    accounts.lockTime,
    accounts.accountExists,
    accounts.getPendingRefund,
    accounts.lockedBalance,
    accounts.providerCount,
    accounts.providersOf,
    ledger_calls.addAccount,
    ledger_calls.depositFund,
    ledger_calls.requestRefundAll,
    services.MIN_PROVIDER_STAKE,
    services.acknowledgeTEESignerByOwner,
    services.revokeTEESignerAcknowledgement,
    offers.addOrUpdateService,
    offers.serviceExists,
    offers.getService,
)


event ContractInitialized:
    owner: indexed(address)
    lockTime: uint256
    ledgerAddress: address


event ServiceRemoved:
    service: indexed(address)


event TEESettlementResult:
    user: indexed(address)
    status: uint8
    unsettledAmount: uint256


event BatchRowSettled:
    user: indexed(address)
    status: uint8
    paid: uint256
    balance: uint256


event BatchSettled:
    provider: indexed(address)
    rows: uint256
    paid: uint256


struct Account:
    user: address
    provider: address
    nonce: uint256
    balance: uint256
    pendingRefund: uint256
    refunds: DynArray[accounts.Refund, accounts.MAX_REFUNDS]
    additionalInfo: String[accounts.MAX_INFO]
    acknowledged: bool
    validRefundsLength: uint256
    generation: uint256
    revokedBitmap: uint256


struct TEESettlementData:
    user: address
    provider: address
    totalFee: uint256
    requestsHash: bytes32
    nonce: uint256
    signature: Bytes[tee.MAX_SIGNATURE]


struct UserSettlement:
    userAndFee: uint256
    nonce: uint256
    requestsHash: bytes32


# @notice The minimum lock time in seconds.
MIN_LOCKTIME: public(constant(uint256)) = 3600

# @notice The maximum lock time in seconds.
MAX_LOCKTIME: public(constant(uint256)) = 7 * 86400

# @dev Documented limits. Decoding accepts more, so that longer input reverts with the named error.
MAX_SETTLEMENTS: constant(uint256) = 50
MAX_SETTLEMENTS_DECODED: constant(uint256) = 64
MAX_ROWS: constant(uint256) = 200
MAX_ROWS_DECODED: constant(uint256) = 208
STATUS_WORDS: constant(uint256) = 4
FEE_MASK: constant(uint256) = 2**96 - 1
MAX_BATCH: constant(uint256) = 500
MAX_BATCH_DECODED: constant(uint256) = 600

# @dev Settlement statuses of the wire format.
SUCCESS: constant(uint8) = 0
PARTIAL: constant(uint8) = 1
PROVIDER_MISMATCH: constant(uint8) = 2
NO_TEE_SIGNER: constant(uint8) = 3
INVALID_NONCE: constant(uint8) = 4
INVALID_SIGNATURE: constant(uint8) = 5

# @dev The bit above the nonce is the user's acknowledgement. Inverted, it makes the last nonce of an account without
#      acknowledgement greater than every valid nonce.
UNACKNOWLEDGED: constant(uint256) = 2**64

NAME_HASH: constant(bytes32) = keccak256("0G Inference Serving")
SETTLEMENT_TYPEHASH: constant(bytes32) = keccak256(
    "TEESettlement(bytes32 requestsHash,uint256 nonce,address provider,address user,uint256 totalFee)"
)

# @dev ERC-165, the serving interface of the live network, and the account book interface that our ledger calls
#      (lockedBalance, providerCount, providersOf).
ERC165_ID: constant(bytes4) = 0x01ffc9a7
SERVING_ID: constant(bytes4) = 0x160841b1
ACCOUNT_BOOK_ID: constant(bytes4) = 0x1ffc15d2

# @dev An encoded account: 11 words, 5 refunds of 4 words with their count, and the text with its length.
ACCOUNT_BYTES: constant(uint256) = 32 * (11 + 1 + 4 * accounts.MAX_REFUNDS + 1) + accounts.MAX_INFO

# @dev A page of encoded accounts or registrations, with an offset for each and the words around them.
BODIES_BYTES: constant(uint256) = accounts.MAX_PAGE * offers.BODY_BYTES
PAGE_BYTES: constant(uint256) = 32 * (3 + accounts.MAX_PAGE) + BODIES_BYTES

# @dev The same for a batch of accounts: 500 with five refunds each. Every append costs gas for the whole length, so a
#      few accounts are collected first.
BATCH_BODIES_BYTES: constant(uint256) = MAX_BATCH * (ACCOUNT_BYTES - accounts.MAX_INFO)
RECENT_BYTES: constant(uint256) = 4 * ACCOUNT_BYTES
BATCH_BYTES: constant(uint256) = 32 * (2 + MAX_BATCH) + BATCH_BODIES_BYTES + RECENT_BYTES


@deploy
def __init__(minProviderStake: uint256):
    """
    @param minProviderStake The minimum stake of a provider in wei; not zero. Applies to every front of this
           implementation.
    """
    initializable.__init__()
    blobs.__init__()
    ledger_calls.__init__(method_id("CallerNotLedger(address)", output_type=bytes4), True)
    services.__init__(minProviderStake)
    batches.__init__()


@external
@payable
def __default__():
    """
    @notice Coins arrive through the ledger or as a stake. A plain transfer reverts with `DirectDepositsDisabled`;
            calldata that matches no function reverts with empty data.
    """
    if len(msg.data) != 0:
        raw_revert(b"")
    shared_errors._direct_deposits_disabled()


@external
def initialize(_locktime: uint256, _ledgerAddress: address, owner: address):
    """
    @notice Initializes a front, once. Warning: anybody may make the first call; our deployment makes it in the
            front's creation.
    @param _locktime Seconds between the request for a refund and its payment, 1 hour to 7 days.
    @param _ledgerAddress The ledger, which alone may open, fund and refund accounts. It must be our ledger: other
           ledgers track settlements through `spendFund`, which this contract never calls.
    @param owner The owner, who acknowledges TEE signers and sets the lock time.
    @dev Reverts with `AlreadyInitialized`, `LockTimeOutOfRange`. Emits `OwnershipTransferred`, `ContractInitialized`,
         `Initialized`.
    """
    initializable._begin()
    self._check_lock_time(_locktime)
    accounts.lockTime = _locktime
    accounts.ledgerAddress = _ledgerAddress
    ownable._transfer_ownership(owner)
    log ContractInitialized(owner=owner, lockTime=_locktime, ledgerAddress=_ledgerAddress)
    initializable._finish()


@external
def updateLockTime(_locktime: uint256):
    """
    @notice Changes the lock time, including that of pending refunds.
    @param _locktime Seconds, 1 hour to 7 days.
    @dev Only the owner. Reverts with `LockTimeOutOfRange`. Emits `LockTimeUpdated`.
    """
    ownable._check_owner()
    self._check_lock_time(_locktime)
    log accounts.LockTimeUpdated(oldLockTime=accounts.lockTime, newLockTime=_locktime)
    accounts.lockTime = _locktime


@external
@view
def supportsInterface(interfaceId: bytes4) -> bool:
    """
    @notice ERC-165. Supports ERC-165 itself, the serving interface 0x160841b1, and the account book interface
            0x1ffc15d2 that our ledger calls.
    """
    id: uint256 = convert(interfaceId, uint256)
    return (
        id == convert(ERC165_ID, uint256)
        or id == convert(SERVING_ID, uint256)
        or id == convert(ACCOUNT_BOOK_ID, uint256)
    )


# Accounts: functions that only the ledger may call; `ledger_calls` has the others


@external
def processRefund(user: address, provider: address) -> (uint256, uint256, uint256):
    """
    @notice Sends to the ledger every refund whose lock time is over.
    @return totalAmount, balance and pendingRefund: wei sent, wei left, wei still pending
    @dev Only the ledger. Reverts with `CallerNotLedger`, `AccountNotExists`, `TransferFailed`, `PayoutInProgress`.
         Emits `BalanceUpdated` if something is paid. Re-entrancy: pays last, under the payout lock.
    """
    ledger_calls._check_ledger()
    paid: uint256 = 0
    balance: uint256 = 0
    pending: uint256 = 0
    paid, balance, pending = accounts._mature(user, provider)
    if paid != 0:
        self._pay(msg.sender, paid)
    return paid, balance, pending


@external
def deleteAccount(user: address, provider: address):
    """
    @notice Deletes an account that holds no coins. Nonce, generation and revoked tokens remain. Does nothing if there
            is no account.
    @dev Only the ledger. Reverts with `CallerNotLedger`, `AccountNotEmpty`. Emits `AccountDeleted`.
    """
    ledger_calls._check_ledger()
    accounts._delete(user, provider)


# Accounts: functions for users


@external
def acknowledgeTEESigner(provider: address, acknowledged: bool):
    """
    @notice Acknowledges the provider's TEE signer, or revokes the acknowledgement, which requires an account without
            coins.
    @dev The caller is the user. Reverts with `AccountNotExists`, `CannotRevokeWithNonZeroBalance`. Emits nothing.
    """
    accounts._acknowledge(msg.sender, provider, acknowledged)


@external
def revokeToken(provider: address, tokenId: uint8):
    """
    @notice Revokes one session token of the current generation permanently.
    @dev The caller is the user. Reverts with `AccountNotExists`. Emits `TokenRevoked`.
    """
    key: bytes32 = accounts._key(msg.sender, provider)
    if not accounts._exists(accounts._words[key]):
        shared_errors._account_not_exists(msg.sender, provider)
    tokens._revoke(key, tokenId)
    log tokens.TokenRevoked(user=msg.sender, provider=provider, tokenId=tokenId)


@external
def revokeTokens(provider: address, tokenIds: DynArray[uint8, tokens.MAX_IDS]):
    """
    @notice Revokes several session tokens of the current generation, at most 512.
    @dev The caller is the user. Reverts with `AccountNotExists`. Emits `TokensRevoked`.
    """
    key: bytes32 = accounts._key(msg.sender, provider)
    if not accounts._exists(accounts._words[key]):
        shared_errors._account_not_exists(msg.sender, provider)
    for id: uint8 in tokenIds:
        tokens._revoke(key, id)
    log tokens.TokensRevoked(user=msg.sender, provider=provider, tokenIds=tokenIds)


@external
def revokeAllTokens(provider: address):
    """
    @notice Revokes all session tokens made so far by starting a new generation.
    @dev The caller is the user. Reverts with `AccountNotExists`. Emits `AllTokensRevoked`.
    """
    key: bytes32 = accounts._key(msg.sender, provider)
    if not accounts._exists(accounts._words[key]):
        shared_errors._account_not_exists(msg.sender, provider)
    generation: uint256 = tokens._revoke_all(key)
    log tokens.AllTokensRevoked(user=msg.sender, provider=provider, newGeneration=generation)


@external
@view
def isTokenRevoked(user: address, provider: address, tokenId: uint8) -> bool:
    """
    @notice Returns whether a token of the current generation is revoked. Tokens of older generations are always
            revoked.
    @dev Reverts with `AccountNotExists`.
    """
    accounts._existing(user, provider)
    generation: uint256 = 0
    bitmap: uint256 = 0
    generation, bitmap = tokens._state(accounts._key(user, provider))
    return (bitmap >> convert(tokenId, uint256)) & 1 == 1


@external
@view
@raw_return
def getAccount(user: address, provider: address) -> Bytes[32 + ACCOUNT_BYTES]:
    """
    @notice Returns one account; amounts in wei, times in unix seconds; `refunds` lists the active ones.
    @dev Reverts with `AccountNotExists`.
    """
    accounts._existing(user, provider)
    return concat(convert(32, bytes32), self._body(user, provider))


@external
@view
@raw_return
def getAllAccounts(offset: uint256, limit: uint256) -> Bytes[PAGE_BYTES]:
    """
    @notice Returns a page of all accounts and their total number. A limit of 0 means 50, the maximum.
    @dev Reverts with `LimitTooLarge`.
    """
    return self._page(accounts.ALL, empty(address), offset, limit)


@external
@view
@raw_return
def getAccountsByProvider(
    provider: address, offset: uint256, limit: uint256
) -> Bytes[PAGE_BYTES]:
    """
    @notice Returns a page of the accounts with one provider and their total number. A limit of 0 means 50, the
            maximum.
    @dev Reverts with `LimitTooLarge`.
    """
    return self._page(accounts.BY_PROVIDER, provider, offset, limit)


@external
@view
@raw_return
def getAccountsByUser(user: address, offset: uint256, limit: uint256) -> Bytes[PAGE_BYTES]:
    """
    @notice Returns a page of one user's accounts and their total number. A limit of 0 means 50, the maximum.
    @dev Reverts with `LimitTooLarge`.
    """
    return self._page(accounts.BY_USER, user, offset, limit)


@external
@view
@raw_return
def getBatchAccountsByUsers(users: DynArray[address, MAX_BATCH_DECODED]) -> Bytes[BATCH_BYTES]:
    """
    @notice Returns the accounts of up to 500 users with the caller as provider, in the given order; zeros where there
            is none.
    @dev Reverts with `BatchSizeTooLarge`; if long descriptions exceed the answer's size, its argument is the number
         of accounts that fit.
    """
    if len(users) > MAX_BATCH:
        shared_errors._batch_size_too_large(len(users), MAX_BATCH)
    places: Bytes[32 * MAX_BATCH] = b""
    bodies: Bytes[BATCH_BODIES_BYTES] = b""
    recent: Bytes[RECENT_BYTES] = b""
    for user: address in users:
        body: Bytes[ACCOUNT_BYTES] = b""
        if accounts._word(user, msg.sender) & accounts.EXISTS != 0:
            body = self._body(user, msg.sender)
        else:
            body = self._body(empty(address), empty(address))
        place: uint256 = len(bodies) + len(recent)
        if place + len(body) > BATCH_BODIES_BYTES:
            shared_errors._batch_size_too_large(len(users), len(places) // 32)
        places = convert(
            concat(places, convert(32 * len(users) + place, bytes32)), Bytes[32 * MAX_BATCH]
        )
        recent = convert(concat(recent, body), Bytes[RECENT_BYTES])
        if len(recent) > 3 * ACCOUNT_BYTES:
            bodies = convert(concat(bodies, recent), Bytes[BATCH_BODIES_BYTES])
            recent = b""
    return concat(convert(32, bytes32), convert(len(users), bytes32), places, bodies, recent)


# Providers


@external
def removeService():
    """
    @notice Removes the registration and returns the whole stake. Warning: unsettled fees can no longer be settled.
    @dev The caller is the provider. Reverts with `ServiceNotExist`, `TransferFailed`, `PayoutInProgress`. Emits
         `ProviderStakeReturned`, `ServiceRemoved`. Re-entrancy: pays last, under the payout lock.
    """
    stake: uint256 = services._remove(msg.sender)
    offers._prices[msg.sender] = 0
    log services.ProviderStakeReturned(provider=msg.sender, amount=stake)
    log ServiceRemoved(service=msg.sender)
    self._pay(msg.sender, stake)


@external
@view
@raw_return
def getAllServices(offset: uint256, limit: uint256) -> Bytes[PAGE_BYTES]:
    """
    @notice Returns a page of all registrations and their total number. A limit of 0 means 50, the maximum.
    @dev Reverts with `LimitTooLarge`.
    """
    return self._page(services.LIST, empty(address), offset, limit)


# Settlement


@external
def settleFeesWithTEE(
    settlements: DynArray[TEESettlementData, MAX_SETTLEMENTS_DECODED]
) -> DynArray[uint8, MAX_SETTLEMENTS_DECODED]:
    """
    @notice Settles the fees of 1 to 50 users, each signed by the provider's TEE. An invalid entry gets a status and
            never stops the others. The batch is paid to the provider in one transfer at the end.
    @return One status per entry: 0 paid in full; 1 the whole balance paid and the rest reported as unsettled; 2 not
            this provider's entry, or no service; 3 TEE signer not acknowledged by user or owner; 4 nonce used or too
            large; 5 not signed by the TEE signer, or no account.
    @dev The caller is the provider. Reverts with `NoSettlementsProvided`, `TooManySettlements`, `TransferFailed`,
         `PayoutInProgress`. Emits for each entry `BalanceUpdated` if something is paid, then `TEESettlementResult`.
         Re-entrancy: pays last, under the payout lock.
    """
    self._check_count(len(settlements), MAX_SETTLEMENTS)
    service: uint256 = services._words[msg.sender]
    signer: address = services._confirmed_signer(service)
    domain: bytes32 = tee._domain(NAME_HASH)
    statuses: DynArray[uint8, MAX_SETTLEMENTS_DECODED] = []
    earned: uint256 = 0
    for settlement: TEESettlementData in settlements:
        user: address = settlement.user
        key: bytes32 = keccak256(abi_encode(msg.sender, user))
        word: uint256 = accounts._words[key]
        unsettled: uint256 = settlement.totalFee
        status: uint8 = self._judge(settlement, word, service, signer, domain)
        if status == SUCCESS:
            used: uint256 = (word >> accounts.NONCE_OFFSET) & accounts.NONCE_MASK
            balance: uint256 = word & accounts.COINS_MASK
            paid: uint256 = unsettled
            if paid > balance:
                paid = balance
                status = PARTIAL
            word = unsafe_sub(
                unsafe_add(word, unsafe_sub(settlement.nonce, used) << accounts.NONCE_OFFSET), paid
            )
            balance = unsafe_sub(balance, paid)
            pending: uint256 = (word >> accounts.PENDING_OFFSET) & accounts.COINS_MASK
            if pending > balance:
                pending = balance
                word = accounts._cover(key, word)
            accounts._words[key] = word
            if paid != 0:
                unsettled = unsafe_sub(unsettled, paid)
                earned = unsafe_add(earned, paid)
                log accounts.BalanceUpdated(
                    user=user, provider=msg.sender, amount=balance, pendingRefund=pending
                )
        statuses.append(status)
        log TEESettlementResult(user=user, status=status, unsettledAmount=unsettled)
    if earned != 0:
        self._pay(msg.sender, earned)
    return statuses


@external
@view
def previewSettlementResults(
    settlements: DynArray[TEESettlementData, MAX_SETTLEMENTS_DECODED]
) -> (
    DynArray[address, MAX_SETTLEMENTS_DECODED],
    DynArray[uint8, MAX_SETTLEMENTS_DECODED],
    DynArray[address, MAX_SETTLEMENTS_DECODED],
    DynArray[uint256, MAX_SETTLEMENTS_DECODED],
):
    """
    @notice Returns what `settleFeesWithTEE` would do now with the caller as provider, entry by entry.
    @return Users whose entries fail, their statuses, users who are charged in part, and their unsettled wei
    @dev Reverts with `NoSettlementsProvided`, `TooManySettlements`.
    """
    self._check_count(len(settlements), MAX_SETTLEMENTS)
    service: uint256 = services._words[msg.sender]
    signer: address = services._confirmed_signer(service)
    domain: bytes32 = tee._domain(NAME_HASH)
    failed: DynArray[address, MAX_SETTLEMENTS_DECODED] = []
    reasons: DynArray[uint8, MAX_SETTLEMENTS_DECODED] = []
    partly: DynArray[address, MAX_SETTLEMENTS_DECODED] = []
    missing: DynArray[uint256, MAX_SETTLEMENTS_DECODED] = []
    words: DynArray[uint256, MAX_SETTLEMENTS_DECODED] = []
    for settlement: TEESettlementData in settlements:
        word: uint256 = accounts._word(settlement.user, msg.sender)
        for i: uint256 in range(len(words), bound=MAX_SETTLEMENTS_DECODED):
            if settlements[i].user == settlement.user:
                word = words[i]
        status: uint8 = self._judge(settlement, word, service, signer, domain)
        if status == SUCCESS:
            paid: uint256 = min(settlement.totalFee, word & accounts.COINS_MASK)
            word = (
                (word & ~accounts.NONCE_BITS) | (settlement.nonce << accounts.NONCE_OFFSET)
            ) - paid
            if paid < settlement.totalFee:
                partly.append(settlement.user)
                missing.append(settlement.totalFee - paid)
        else:
            failed.append(settlement.user)
            reasons.append(status)
        words.append(word)
    return failed, reasons, partly, missing


@external
def settleBatchWithTEE(
    rows: DynArray[UserSettlement, MAX_ROWS_DECODED], signature: Bytes[tee.MAX_SIGNATURE]
) -> uint256[STATUS_WORDS]:
    """
    @notice Settles the fees of 1 to 200 users, all signed at once by the provider's TEE as one `TEESettlementBatch`.
            Each row has its own nonce and gets its own status, as in `settleFeesWithTEE`. An `eth_call` of it is its
            preview.
    @param rows Compact rows: `userAndFee` is the user's address, shifted left by 96 bits, plus the fee in wei.
    @param signature The TEE's signature over the whole batch.
    @return Four bits per row, starting at the lowest bits of the first word: the row's status
    @dev The caller is the provider. Reverts with `NoSettlementsProvided`, `TooManySettlements`, `TransferFailed`,
         `PayoutInProgress`. Emits `BatchRowSettled` for each row, then `BatchSettled`. Re-entrancy: pays last, under
         the payout lock.
    """
    self._check_count(len(rows), MAX_ROWS)
    service: uint256 = services._words[msg.sender]
    signer: address = services._confirmed_signer(service)
    last: uint256 = 0
    if signer != empty(address) and tee._signed_by(
        signer,
        keccak256(concat(x"1901", tee._domain(NAME_HASH), batches._struct_hash(msg.sender))),
        signature,
    ):
        last = accounts.MAX_NONCE

    statuses: uint256[STATUS_WORDS] = empty(uint256[STATUS_WORDS])
    earned: uint256 = 0
    at: uint256 = 0
    for row: UserSettlement in rows:
        user: address = convert(row.userAndFee >> 96, address)
        key: bytes32 = keccak256(abi_encode(msg.sender, user))
        word: uint256 = accounts._words[key]
        balance: uint256 = word & accounts.COINS_MASK
        used: uint256 = (word >> accounts.NONCE_OFFSET) ^ UNACKNOWLEDGED
        paid: uint256 = 0
        status: uint8 = SUCCESS
        if row.nonce > used and row.nonce <= last:
            paid = row.userAndFee & FEE_MASK
            if paid > balance:
                paid = balance
                status = PARTIAL
                statuses[at // 64] |= 1 << (4 * (at % 64))
            balance = unsafe_sub(balance, paid)
            earned = unsafe_add(earned, paid)
            word = unsafe_sub(
                unsafe_add(word, unsafe_sub(row.nonce, used) << accounts.NONCE_OFFSET), paid
            )
            if (word >> accounts.PENDING_OFFSET) & accounts.COINS_MASK > balance:
                word = accounts._cover(key, word)
            accounts._words[key] = word
        else:
            status = self._refusal(word, service, row.nonce)
            statuses[at // 64] |= convert(status, uint256) << (4 * (at % 64))
        at = unsafe_add(at, 1)
        log BatchRowSettled(user=user, status=status, paid=paid, balance=balance)
    log BatchSettled(provider=msg.sender, rows=at, paid=earned)
    if earned != 0:
        self._pay(msg.sender, earned)
    return statuses


@internal
@view
def _judge(
    settlement: TEESettlementData, word: uint256, service: uint256, signer: address, domain: bytes32
) -> uint8:
    """
    @dev Returns 0 if an entry may be charged to the account with this word, otherwise the status that says why not.
    """
    if settlement.provider != msg.sender:
        return PROVIDER_MISMATCH
    if (
        signer != empty(address)
        and settlement.nonce > (word >> accounts.NONCE_OFFSET) ^ UNACKNOWLEDGED
        and settlement.nonce <= accounts.MAX_NONCE
    ):
        struct_hash: bytes32 = keccak256(
            abi_encode(
                SETTLEMENT_TYPEHASH,
                settlement.requestsHash,
                settlement.nonce,
                msg.sender,
                settlement.user,
                settlement.totalFee,
            )
        )
        digest: bytes32 = keccak256(concat(x"1901", domain, struct_hash))
        if tee._signed_by(signer, digest, settlement.signature):
            return SUCCESS
    return self._refusal(word, service, settlement.nonce)


@internal
@pure
def _refusal(word: uint256, service: uint256, nonce: uint256) -> uint8:
    """
    @dev Returns why an entry is not paid, in the order that clients expect. If nothing else is wrong, the signature
         is.
    """
    if word & accounts.EXISTS == 0:
        return INVALID_SIGNATURE
    if service == 0:
        return PROVIDER_MISMATCH
    if word >> accounts.ACKNOWLEDGED_OFFSET == 0 or services._confirmed_signer(service) == empty(address):
        return NO_TEE_SIGNER
    if nonce <= (word >> accounts.NONCE_OFFSET) & accounts.NONCE_MASK or nonce > accounts.MAX_NONCE:
        return INVALID_NONCE
    return INVALID_SIGNATURE


@internal
def _pay(to: address, amount: uint256):
    if not payouts._pay(to, amount):
        errors._transfer_failed()


@internal
@view
def _page(kind: uint256, key: address, offset: uint256, limit: uint256) -> Bytes[PAGE_BYTES]:
    """
    @dev A page of a list of accounts or registrations, encoded as (entries, total). All listings use this encoder.
    """
    if limit > accounts.MAX_PAGE:
        errors._limit_too_large(limit, accounts.MAX_PAGE)
    total: uint256 = accounts._listed(kind, key)
    count: uint256 = accounts._page_size(offset, limit, total)
    places: Bytes[32 * accounts.MAX_PAGE] = b""
    bodies: Bytes[BODIES_BYTES] = b""
    for i: uint256 in range(count, bound=accounts.MAX_PAGE):
        body: Bytes[offers.BODY_BYTES] = b""
        if kind == services.LIST:
            body = offers._body(services._provider_at(offset + i))
        else:
            user: address = empty(address)
            provider: address = empty(address)
            user, provider = accounts._account_at(kind, key, offset + i)
            body = self._body(user, provider)
        places = convert(
            concat(places, convert(32 * count + len(bodies), bytes32)),
            Bytes[32 * accounts.MAX_PAGE],
        )
        bodies = convert(concat(bodies, body), Bytes[BODIES_BYTES])
    return concat(
        convert(64, bytes32), convert(total, bytes32), convert(count, bytes32), places, bodies
    )


@internal
@view
def _body(user: address, provider: address) -> Bytes[ACCOUNT_BYTES]:
    """
    @dev An account, encoded as the members of `Account`.
    """
    account: bytes32 = accounts._key(user, provider)
    word: uint256 = accounts._words[account]
    generation: uint256 = 0
    bitmap: uint256 = 0
    generation, bitmap = tokens._state(account)
    refunds: DynArray[accounts.Refund, accounts.MAX_REFUNDS] = accounts._active_refunds(account, word)
    info: String[accounts.MAX_INFO] = accounts._info(account, word)
    return abi_encode(
        user,
        provider,
        accounts._nonce(word),
        accounts._balance(word),
        accounts._pending(word),
        refunds,
        info,
        word >> accounts.ACKNOWLEDGED_OFFSET,
        len(refunds),
        generation,
        bitmap,
    )


@internal
@pure
def _check_lock_time(seconds: uint256):
    if seconds < MIN_LOCKTIME or seconds > MAX_LOCKTIME:
        errors._lock_time_out_of_range(seconds, MIN_LOCKTIME, MAX_LOCKTIME)

@internal
@pure
def _check_count(count: uint256, maximum: uint256):
    if count == 0:
        errors._no_settlements_provided()
    if count > maximum:
        errors._too_many_settlements(count, maximum)
