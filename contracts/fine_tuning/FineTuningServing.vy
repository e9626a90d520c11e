# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title Fine-tuning serving
@custom:contract-name FineTuningServing
@license Apache-2.0
@author Serving Network maintainers
@notice Providers register with a stake, deliver fine-tuned models one after another, and are paid from the user's
        account what their TEE signed: the full fee if the user acknowledged the deliverable, otherwise a penalty.
@dev State changes precede payouts, and a payout cannot start another. Nothing depends on `self.balance`: coins forced
     in belong to nobody.
@custom:risk A user acknowledges a provider, as every transfer of funds does, whose signer the owner acknowledged
        although it is not a TEE. At risk is the balance of the account with that provider. A user who does not act
        loses one penalty: the next one requires an action of the user since the last.
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
from . import deliverables
from . import fine_tuning_errors as errors
from . import offers
from . import verifier

initializes: ownable
initializes: initializable
initializes: blobs
initializes: lists
initializes: accounts[blobs := blobs, lists := lists]
initializes: ledger_calls[accounts := accounts]
initializes: services[lists := lists, ownable := ownable]
initializes: payouts
initializes: deliverables[blobs := blobs]
initializes: offers[blobs := blobs, services := services]

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
)


event ServiceRemoved:
    provider: indexed(address)


event DeliverableAcknowledged:
    user: indexed(address)
    provider: indexed(address)
    deliverableId: String[deliverables.MAX_ID_DECODED]
    timestamp: uint256


event DeliverableAbandoned:
    user: indexed(address)
    provider: indexed(address)
    deliverableId: String[deliverables.MAX_ID_DECODED]
    timestamp: uint256


event FeesSettled:
    user: indexed(address)
    provider: indexed(address)
    deliverableId: String[deliverables.MAX_ID_DECODED]
    fee: uint256
    acknowledged: bool
    nonce: uint256


# @dev `getAccount` and the listings of accounts encode these structs by hand.
struct Refund:
    index: uint256
    amount: uint256
    createdAt: uint256
    _deprecated_processed: bool


struct Account:
    user: address
    provider: address
    nonce: uint256
    balance: uint256
    pendingRefund: uint256
    refunds: DynArray[Refund, accounts.MAX_REFUNDS]
    additionalInfo: String[accounts.MAX_INFO]
    deliverables: DynArray[deliverables.Deliverable, deliverables.CAPACITY]
    validRefundsLength: uint256
    deliverablesHead: uint256
    deliverablesCount: uint256
    acknowledged: bool


struct Summary:
    user: address
    provider: address
    nonce: uint256
    balance: uint256
    pendingRefund: uint256
    additionalInfo: String[accounts.MAX_INFO]
    validRefundsLength: uint256
    deliverablesCount: uint256
    acknowledged: bool


# @notice The minimum lock time in seconds.
MIN_LOCKTIME: public(constant(uint256)) = 3600

# @notice The maximum lock time in seconds.
MAX_LOCKTIME: public(constant(uint256)) = 7 * 86400

MAX_PERCENTAGE: constant(uint256) = 100

# @dev The documented limit. Decoding accepts more, so that longer input reverts with the named error.
MAX_BATCH: constant(uint256) = 50
MAX_BATCH_DECODED: constant(uint256) = 64

# @dev ERC-165, the serving interface of the live network, and the account book interface that our ledger calls
#      (lockedBalance, providerCount, providersOf).
ERC165_ID: constant(bytes4) = 0x01ffc9a7
SERVING_ID: constant(bytes4) = 0x160841b1
ACCOUNT_BOOK_ID: constant(bytes4) = 0x1ffc15d2

# @dev An encoded account up to its deliverables: 14 words, the refunds and the text. An encoded summary: 10 words and
#      the text. A list holds, besides the offsets of its entries, 50 of the longest summaries.
ACCOUNT_START: constant(uint256) = 32 * (14 + 4 * accounts.MAX_REFUNDS) + accounts.MAX_INFO
SUMMARY_BYTES: constant(uint256) = 32 * 10 + accounts.MAX_INFO
BODIES_BYTES: constant(uint256) = accounts.MAX_PAGE * SUMMARY_BYTES
LIST_BYTES: constant(uint256) = 96 + 32 * accounts.MAX_PAGE + BODIES_BYTES

# @dev Kinds of lists: the number in the upper bits of a list's ID, and two kinds that are not stored as such lists.
KIND_OFFSET: constant(uint256) = 160
BY_USER: constant(uint256) = accounts.BY_USER >> KIND_OFFSET
BY_PROVIDER: constant(uint256) = accounts.BY_PROVIDER >> KIND_OFFSET
SERVICES: constant(uint256) = services.LIST >> KIND_OFFSET
BATCH: constant(uint256) = SERVICES + 1
DELIVERABLES: constant(uint256) = SERVICES + 2

# @notice The payment for a deliverable that the user does not acknowledge, in percent of the fee.
penaltyPercentage: public(uint256)


@deploy
def __init__(minProviderStake: uint256):
    """
    @param minProviderStake The minimum stake of a provider in wei; not zero. Applies to every front of this
           implementation.
    """
    initializable.__init__()
    blobs.__init__()
    ledger_calls.__init__(method_id("CallerNotLedger()", output_type=bytes4), False)
    services.__init__(minProviderStake)


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
def initialize(
    _locktime: uint256, _ledgerAddress: address, owner: address, _penaltyPercentage: uint256
):
    """
    @notice Initializes a front, once. Warning: anybody may make the first call; our deployment makes it in the
            front's creation.
    @param _locktime Seconds between the request for a refund and its payment, 1 hour to 7 days.
    @param _ledgerAddress The ledger, which alone may open, fund and refund accounts. It must be our ledger: other
           ledgers track settlements through `spendFund`, which this contract never calls.
    @param owner The owner, who acknowledges TEE signers and sets lock time and penalty.
    @param _penaltyPercentage The payment for a deliverable that is not acknowledged, 0 to 100 percent of its fee.
    @dev Reverts with `AlreadyInitialized`, `InvalidLedgerAddress` (no code), `PenaltyPercentageTooHigh`,
         `LockTimeOutOfRange`. Emits `OwnershipTransferred`, `Initialized`.
    """
    initializable._begin()
    if not _ledgerAddress.is_contract:
        errors._invalid_ledger_address()
    self._check_percentage(_penaltyPercentage)
    self._check_lock_time(_locktime)
    accounts.lockTime = _locktime
    accounts.ledgerAddress = _ledgerAddress
    self.penaltyPercentage = _penaltyPercentage
    ownable._transfer_ownership(owner)
    initializable._finish()


@external
def updateLockTime(_locktime: uint256):
    """
    @notice Changes the lock time, including that of pending refunds.
    @param _locktime Seconds, 1 hour to 7 days.
    @dev Only the owner. Reverts with `LockTimeOutOfRange`. Emits `LockTimeUpdated` if it changes.
    """
    ownable._check_owner()
    self._check_lock_time(_locktime)
    old: uint256 = accounts.lockTime
    if old != _locktime:
        accounts.lockTime = _locktime
        log accounts.LockTimeUpdated(oldLockTime=old, newLockTime=_locktime)


@external
def updatePenaltyPercentage(_penaltyPercentage: uint256):
    """
    @notice Changes the penalty, including that of delivered and unsettled tasks.
    @param _penaltyPercentage 0 to 100 percent of a task's fee.
    @dev Only the owner. Reverts with `PenaltyPercentageTooHigh`. Emits nothing.
    """
    ownable._check_owner()
    self._check_percentage(_penaltyPercentage)
    self.penaltyPercentage = _penaltyPercentage


@external
@view
def supportsInterface(interfaceId: bytes4) -> bool:
    """
    @notice ERC-165. Supports ERC-165 itself, the serving interface 0x160841b1, and the account book interface
            0x1ffc15d2 that our ledger calls.
    """
    id: uint32 = convert(interfaceId, uint32)
    return (
        id == convert(ERC165_ID, uint32)
        or id == convert(SERVING_ID, uint32)
        or id == convert(ACCOUNT_BOOK_ID, uint32)
    )


# Accounts: functions that only the ledger may call; `ledger_calls` has the others


@external
def processRefund(user: address, provider: address) -> (uint256, uint256, uint256):
    """
    @notice Sends to the ledger every refund whose lock time is over.
    @return totalAmount, balance and pendingRefund: wei sent, wei left, wei still pending
    @dev Only the ledger. Reverts with `CallerNotLedger`, `AccountNotExists`, `TransferToLedgerFailed`,
         `PayoutInProgress`. Emits `BalanceUpdated` if something is paid. Re-entrancy: pays last, under the payout
         lock.
    """
    ledger_calls._check_ledger()
    paid: uint256 = 0
    balance: uint256 = 0
    pending: uint256 = 0
    paid, balance, pending = accounts._mature(user, provider)
    if paid != 0:
        if not payouts._pay(msg.sender, paid):
            errors._transfer_to_ledger_failed()
    return paid, balance, pending


@external
def deleteAccount(user: address, provider: address):
    """
    @notice Deletes an account that holds no coins, and its deliverables. The nonce remains. Does nothing if there is
            no account.
    @dev Only the ledger. Reverts with `CallerNotLedger`, `AccountNotEmpty`. Emits `AccountDeleted`.
    """
    ledger_calls._check_ledger()
    if accounts._delete(user, provider):
        deliverables._forget(accounts._key(user, provider))


# Accounts: functions for users, and views


@external
def acknowledgeTEESigner(provider: address, acknowledged: bool):
    """
    @notice Acknowledges the provider's TEE signer, or revokes the acknowledgement, which requires an account without
            coins.
    @dev The caller is the user. Reverts with `AccountNotExists`, `CannotRevokeWithNonZeroBalance`. Emits nothing.
    """
    accounts._acknowledge(msg.sender, provider, acknowledged)


@external
@view
@raw_return
def getAccount(user: address, provider: address) -> Bytes[64 + ACCOUNT_START + LIST_BYTES]:
    """
    @notice Returns one account with its deliverables, oldest first; amounts in wei, times in unix seconds; `refunds`
            lists the active ones.
    @dev Reverts with `AccountNotExists`. The deliverables are encoded separately and come last.
    """
    word: uint256 = accounts._existing(user, provider)
    account: bytes32 = accounts._key(user, provider)
    refunds: DynArray[accounts.Refund, accounts.MAX_REFUNDS] = accounts._active_refunds(account, word)
    info: String[accounts.MAX_INFO] = accounts._info(account, word)
    ring: uint256 = deliverables._rings[account]
    count: uint256 = (ring >> deliverables.COUNT_OFFSET) & deliverables.INDEX_MASK
    words: uint256 = unsafe_add(unsafe_mul(4, len(refunds)), unsafe_add(len(info), 31) // 32)
    start: Bytes[ACCOUNT_START] = abi_encode(
        user,
        provider,
        accounts._nonce(word),
        accounts._balance(word),
        accounts._pending(word),
        refunds,
        info,
        unsafe_mul(32, unsafe_add(14, words)),
        len(refunds),
        ring & deliverables.INDEX_MASK,
        count,
        word >> accounts.ACKNOWLEDGED_OFFSET,
    )
    list: Bytes[LIST_BYTES] = self._list(DELIVERABLES, convert(account, uint256), 0, count, [], 0, 64)
    return concat(convert(32, bytes32), start, list)


@external
@view
@raw_return
def getAllAccounts(offset: uint256, limit: uint256) -> Bytes[LIST_BYTES]:
    """
    @notice Returns a page of all accounts, without refunds and deliverables, and their total number. A limit of 0
            means 50, the maximum.
    @dev Reverts with `LimitTooLarge`.
    """
    return self._page(accounts.ALL, empty(address), offset, limit)


@external
@view
@raw_return
def getAccountsByProvider(
    provider: address, offset: uint256, limit: uint256
) -> Bytes[LIST_BYTES]:
    """
    @notice Returns a page of the accounts with one provider and their total number. A limit of 0 means 50, the
            maximum.
    @dev Reverts with `LimitTooLarge`.
    """
    return self._page(BY_PROVIDER, provider, offset, limit)


@external
@view
@raw_return
def getAccountsByUser(user: address, offset: uint256, limit: uint256) -> Bytes[LIST_BYTES]:
    """
    @notice Returns a page of one user's accounts and their total number. A limit of 0 means 50, the maximum.
    @dev Reverts with `LimitTooLarge`.
    """
    return self._page(BY_USER, user, offset, limit)


@external
@view
@raw_return
def getBatchAccountsByUsers(users: DynArray[address, MAX_BATCH_DECODED]) -> Bytes[LIST_BYTES]:
    """
    @notice Returns the accounts of up to 50 users with the caller as provider, in the given order; zeros where there
            is none.
    @dev Reverts with `BatchSizeTooLarge`.
    """
    if len(users) > MAX_BATCH:
        shared_errors._batch_size_too_large(len(users), MAX_BATCH)
    return self._list(BATCH, 0, 0, len(users), users, 32, 32)


# Providers


@external
def removeService():
    """
    @notice Removes the registration and returns the whole stake. Warning: unsettled fees can no longer be settled.
    @dev The caller is the provider. Reverts with `ServiceNotExist`, `ETHTransferFailed`, `PayoutInProgress`. Emits
         `ProviderStakeReturned`, `ServiceRemoved`. Re-entrancy: pays last, under the payout lock.
    """
    stake: uint256 = services._remove(msg.sender)
    offers._forget(msg.sender)
    log services.ProviderStakeReturned(provider=msg.sender, amount=stake)
    log ServiceRemoved(provider=msg.sender)
    self._pay(msg.sender, stake)


@external
@view
@raw_return
def getService(provider: address) -> Bytes[32 + offers.BODY_BYTES]:
    """
    @notice Returns a provider's registration; the price in wei per token.
    @dev Reverts with `ServiceNotExist`.
    """
    services._registered(provider)
    body: Bytes[offers.BODY_BYTES] = offers._body(provider)
    return concat(convert(32, bytes32), body)


@external
@view
@raw_return
def getAllServices() -> Bytes[LIST_BYTES]:
    """
    @notice Returns the first page of `getServices`, without the total.
    """
    count: uint256 = min(services._count(), accounts.MAX_PAGE)
    return self._list(SERVICES, 0, 0, count, [], 32, 32)


@external
@view
@raw_return
def getServices(offset: uint256, limit: uint256) -> Bytes[LIST_BYTES]:
    """
    @notice Returns a page of all registrations and their total number. A limit of 0 means 50, the maximum. A page
            ends early, after at least 9 entries, if the next one would take it past 220,800 bytes: request the next
            page from there.
    @dev Reverts with `LimitTooLarge`.
    """
    return self._page(SERVICES, empty(address), offset, limit)


# Deliverables


@external
def addDeliverable(
    user: address,
    id: String[deliverables.MAX_ID_DECODED],
    modelRootHash: Bytes[deliverables.MAX_ROOT_DECODED],
):
    """
    @notice Adds a finished task for the user. One at a time: the previous one must be acknowledged or settled. At
            most 20 are kept; the 21st drops the oldest.
    @param user The user who receives the task.
    @param id 1 to 256 bytes, not the ID of a deliverable that is kept.
    @param modelRootHash At most 1024 bytes; the settlement must name the same.
    @dev The caller is the provider. Reverts with `DeliverableIdInvalidLength`, `TextTooLong`, `AccountNotExists`,
         `DeliverableAlreadyExists`, `PreviousDeliverableNotAcknowledged`, `CannotEvictUnsettledDeliverable`. Emits
         `DeliverableEvicted` if one is dropped, then `DeliverableAdded`.
    """
    if len(id) == 0 or len(id) > deliverables.MAX_ID:
        errors._deliverable_id_invalid_length(len(id))
    if len(modelRootHash) > deliverables.MAX_ROOT:
        shared_errors._text_too_long(len(modelRootHash), deliverables.MAX_ROOT)
    accounts._existing(user, msg.sender)
    deliverables._add(accounts._key(user, msg.sender), user, msg.sender, id, modelRootHash)


@external
def acknowledgeDeliverable(provider: address, id: String[deliverables.MAX_ID_DECODED]):
    """
    @notice Accepts a deliverable, whose full fee is then due. May be repeated.
    @dev The caller is the user. Reverts with `AccountNotExists`, `DeliverableNotExists`,
         `CannotAcknowledgeSettledDeliverable`. Emits `DeliverableAcknowledged`.
    """
    word: uint256 = self._mark(
        msg.sender,
        provider,
        id,
        deliverables.ACKNOWLEDGED,
        convert(
            method_id("CannotAcknowledgeSettledDeliverable(string)", output_type=bytes4), uint256
        ),
    )
    if word & accounts.FLAG != 0:
        accounts._acknowledge(msg.sender, provider, True)
    log DeliverableAcknowledged(
        user=msg.sender, provider=provider, deliverableId=id, timestamp=block.timestamp
    )


@external
def abandonDeliverable(user: address, id: String[deliverables.MAX_ID_DECODED]):
    """
    @notice Abandons a deliverable without payment: it counts as acknowledged and settled.
    @dev The caller is the provider. Reverts with `AccountNotExists`, `DeliverableNotExists`,
         `CannotAbandonSettledDeliverable`. Emits `DeliverableAbandoned`.
    """
    self._mark(
        user,
        msg.sender,
        id,
        deliverables.ACKNOWLEDGED | deliverables.SETTLED,
        convert(method_id("CannotAbandonSettledDeliverable(string)", output_type=bytes4), uint256),
    )
    log DeliverableAbandoned(
        user=user, provider=msg.sender, deliverableId=id, timestamp=block.timestamp
    )


@external
@view
@raw_return
def getDeliverable(
    user: address, provider: address, id: String[deliverables.MAX_ID_DECODED]
) -> Bytes[32 + deliverables.BODY_BYTES]:
    """
    @notice Returns one deliverable; the time in unix seconds, the secret only after a settlement that paid the full
            fee.
    @dev Reverts with `AccountNotExists`, `DeliverableNotExists`.
    """
    accounts._existing(user, provider)
    key: bytes32 = empty(bytes32)
    entry: uint256 = 0
    key, entry = deliverables._find(accounts._key(user, provider), id, 0)
    body: Bytes[deliverables.BODY_BYTES] = deliverables._body(entry)
    return concat(convert(32, bytes32), body)


@external
@view
@raw_return
def getDeliverables(user: address, provider: address) -> Bytes[LIST_BYTES]:
    """
    @notice Returns all deliverables that are kept, oldest first.
    @dev Reverts with `AccountNotExists`.
    """
    accounts._existing(user, provider)
    account: bytes32 = accounts._key(user, provider)
    return self._list(DELIVERABLES, convert(account, uint256), 0, deliverables._count(account), [], 32, 32)


# Settlement


@external
def settleFees(verifierInput: verifier.VerifierInput):
    """
    @notice Settles one deliverable as the provider's TEE signed it. If the user acknowledged it, the full fee is paid
            and the secret is stored. Otherwise the penalty is paid, rounded down, and the next such settlement
            requires an action of the user.
    @param verifierInput `taskFee` is in wei; the balance must cover it even if only the penalty is paid. The secret,
           at most 1024 bytes, is empty if and only if the deliverable is not acknowledged.
    @dev The caller is the provider. Reverts, in this order, with `AccountNotExists`, `ServiceNotExist`,
         `InvalidVerifierInput` (signer not acknowledged, nonce, balance), `DeliverableNotExists`,
         `DeliverableAlreadySettled`, `InvalidVerifierInput` (model root hash, signature), `SecretShouldNotBeEmpty`,
         `TextTooLong`, `SecretShouldBeEmpty`, `UserActionRequired`, and last `ETHTransferFailed`, `PayoutInProgress`.
         Emits `FeesSettled`, `BalanceUpdated`. Re-entrancy: pays last, under the payout lock.
    """
    user: address = verifierInput.user
    word: uint256 = accounts._existing(user, msg.sender)
    service: uint256 = services._registered(msg.sender)
    signer: address = services._confirmed_signer(service)
    if word >> accounts.ACKNOWLEDGED_OFFSET == 0 or signer == empty(address):
        errors._invalid_verifier_input("TEE signer not acknowledged")
    nonce: uint256 = verifierInput.nonce
    if (
        nonce <= accounts._nonce(word)
        or nonce > accounts.MAX_NONCE
    ):
        errors._invalid_verifier_input("nonce should larger than the current nonce")
    fee: uint256 = verifierInput.taskFee
    if accounts._balance(word) < fee:
        errors._invalid_verifier_input("insufficient balance")
    account: bytes32 = accounts._key(user, msg.sender)
    key: bytes32 = empty(bytes32)
    entry: uint256 = 0
    key, entry = deliverables._find(
        account,
        verifierInput.id,
        convert(method_id("DeliverableAlreadySettled(string)", output_type=bytes4), uint256),
    )
    if not deliverables._holds(entry, verifierInput.id, verifierInput.modelRootHash):
        errors._invalid_verifier_input("model root hash mismatch")
    if not verifier._signed_by(signer, verifierInput):
        errors._invalid_verifier_input("TEE settlement validation failed")

    acknowledged: bool = entry & deliverables.ACKNOWLEDGED != 0
    if acknowledged:
        if len(verifierInput.encryptedSecret) == 0:
            errors._secret_should_not_be_empty()
        if len(verifierInput.encryptedSecret) > deliverables.MAX_SECRET:
            shared_errors._text_too_long(
                len(verifierInput.encryptedSecret), deliverables.MAX_SECRET
            )
        blob: uint256 = deliverables._write(
            verifierInput.id, verifierInput.modelRootHash, verifierInput.encryptedSecret
        )
        entry = (entry & deliverables.STATE_MASK) | blob
    else:
        if len(verifierInput.encryptedSecret) != 0:
            errors._secret_should_be_empty()
        if word & accounts.FLAG != 0:
            errors._user_action_required(user, msg.sender)
        word |= accounts.FLAG
        fee = unsafe_div(unsafe_mul(fee, self.penaltyPercentage), 100)
    deliverables._entries[key] = entry | deliverables.SETTLED
    word = accounts._charge(account, word, nonce, fee)
    log FeesSettled(
        user=user,
        provider=msg.sender,
        deliverableId=verifierInput.id,
        fee=fee,
        acknowledged=acknowledged,
        nonce=nonce,
    )
    accounts._log_balance(user, msg.sender, word)
    self._pay(msg.sender, fee)


@internal
def _mark(
    user: address,
    provider: address,
    id: String[deliverables.MAX_ID_DECODED],
    marks: uint256,
    settled: uint256,
) -> uint256:
    """
    @dev Sets bits in the entry of a deliverable that is not settled; reverts with the error `settled` if it is.
         Returns the account's word.
    """
    word: uint256 = accounts._existing(user, provider)
    key: bytes32 = empty(bytes32)
    entry: uint256 = 0
    key, entry = deliverables._find(accounts._key(user, provider), id, settled)
    deliverables._entries[key] = entry | marks
    return word


@internal
def _pay(to: address, amount: uint256):
    if not payouts._pay(to, amount):
        errors._eth_transfer_failed()


@internal
@view
def _page(kind: uint256, key: address, offset: uint256, limit: uint256) -> Bytes[LIST_BYTES]:
    """
    @dev A page of accounts or services and their total number, encoded. Reverts with `LimitTooLarge`.
    """
    if limit > accounts.MAX_PAGE:
        errors._limit_too_large(limit)
    total: uint256 = accounts._listed(kind << KIND_OFFSET, key)
    count: uint256 = accounts._page_size(offset, limit, total)
    return self._list(kind, convert(key, uint256), offset, count, [], total, 0)


@internal
@view
def _list(
    kind: uint256,
    key: uint256,
    offset: uint256,
    count: uint256,
    users: DynArray[address, MAX_BATCH_DECODED],
    total: uint256,
    skipped: uint256,
) -> Bytes[LIST_BYTES]:
    """
    @dev Up to `count` entries of a list, encoded. All lists use this encoder. Ends early if the next entry does not
         fit. The encoding is that of (list, total) without its first `skipped` bytes; a `skipped` of 32 with a total
         of 32 leaves the encoding of the list alone.
    """
    places: DynArray[uint256, accounts.MAX_PAGE] = []
    bodies: Bytes[BODIES_BYTES] = b""
    for i: uint256 in range(count, bound=accounts.MAX_PAGE):
        body: Bytes[offers.BODY_BYTES] = b""
        if kind == SERVICES:
            body = offers._body(services._provider_at(unsafe_add(offset, i)))
        elif kind == DELIVERABLES:
            body = deliverables._body(deliverables._nth(convert(key, bytes32), i))
        else:
            user: address = empty(address)
            provider: address = msg.sender
            if kind == BATCH:
                user = users[i]
            else:
                user, provider = accounts._account_at(
                    kind << KIND_OFFSET, convert(key, address), unsafe_add(offset, i)
                )
            body = self._summary(user, provider)
        if unsafe_add(len(bodies), len(body)) > BODIES_BYTES:
            break
        places.append(len(bodies))
        bodies = convert(concat(bodies, body), Bytes[BODIES_BYTES])
    for i: uint256 in range(len(places), bound=accounts.MAX_PAGE):
        places[i] = unsafe_add(places[i], unsafe_mul(32, len(places)))
    start: Bytes[96 + 32 * accounts.MAX_PAGE] = abi_encode(places, total)
    return concat(slice(start, skipped, unsafe_sub(len(start), skipped)), bodies)


@internal
@view
def _summary(user: address, provider: address) -> Bytes[SUMMARY_BYTES]:
    """
    @dev An account as listings show it, encoded as the members of `Summary`; zeros if there is none.
    """
    account: bytes32 = accounts._key(user, provider)
    word: uint256 = accounts._words[account]
    exists: uint256 = (word // accounts.EXISTS) & 1
    word = unsafe_mul(word, exists)
    return abi_encode(
        unsafe_mul(convert(user, uint256), exists),
        unsafe_mul(convert(provider, uint256), exists),
        accounts._nonce(word),
        accounts._balance(word),
        accounts._pending(word),
        accounts._info(account, word),
        accounts._refund_count(word),
        deliverables._count(account),
        word >> accounts.ACKNOWLEDGED_OFFSET,
    )


@internal
@pure
def _check_lock_time(seconds: uint256):
    if seconds < MIN_LOCKTIME or seconds > MAX_LOCKTIME:
        errors._lock_time_out_of_range(seconds)


@internal
@pure
def _check_percentage(percentage: uint256):
    if percentage > MAX_PERCENTAGE:
        errors._penalty_percentage_too_high(percentage)
