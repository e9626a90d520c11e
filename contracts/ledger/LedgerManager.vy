# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Ledger
@custom:contract-name LedgerManager
@license Apache-2.0
@author Serving Network maintainers
@notice Holds the coins that users have deposited and not transferred. Coins move from a wallet into the user's
        ledger, from there into the user's accounts with providers, which the services hold, and back the same way.

        A user's ledger is one word:

            255    254         253        136 135    96 95         0
            [ more:1 | described:1 | services:118 | place:40 | available:96 ]

        available  wei that the user can move
        place      position in the list of ledgers, plus one; zero: there is no ledger
        services   bit i: the user may have accounts in service number i; bits from 118 on are in `_more`
        described  additionalInfo is not empty
        more       some bit of `_more` is set

@dev Every coin is counted once: the ledger stores the available balance and asks the services for the rest. Only for
     a service that does not report balances (one written by others) does the ledger store what each user has locked
     there.

     The ledger's coins are never less than the sum of available balances. Operations on one user's ledger lock that
     ledger (`LedgerLocked`), transiently; other users' ledgers stay open. State is written before coins are sent or
     services called, except in `retrieveFund`, which can credit only what has arrived: the lock covers it.
@custom:risk A user transfers coins to a provider whose signed settlements are wrong, or to a service whose code is
        wrong. At risk is the transferred amount.
@custom:mitigation The owner acknowledges only real TEEs and registers only reviewed services.
"""

from . import ledger_errors as errors
from . import registry
from ..serving import blobs
from ..serving import errors as shared_errors
from ..serving import initializable
from ..serving import lists
from ..serving import ownable

initializes: ownable
initializes: initializable
initializes: blobs
initializes: lists
initializes: registry[blobs := blobs, lists := lists, ownable := ownable]

exports: (
    ownable.owner,
    ownable.pendingOwner,
    ownable.transferOwnership,
    ownable.renounceOwnership,
    ownable.offerOwnership,
    ownable.acceptOwnership,
    initializable.initialized,
    registry.MAX_SERVICES,
    registry.registerService,
    registry.setRecommendedService,
    registry.getServiceInfo,
    registry.getServiceAddressByName,
    registry.getAllActiveServices,
    registry.getActiveServices,
    registry.getAllVersions,
    registry.getVersionsPaged,
    registry.getRecommendedService,
    registry.isRecommendedVersion,
)


event FundSpent:
    user: indexed(address)
    service: indexed(address)
    amount: uint256


event LedgerInfoUpdated:
    user: indexed(address)
    additionalInfo: String[MAX_INFO_DECODED]


event LedgerCreated:
    user: indexed(address)


event LedgerDeleted:
    user: indexed(address)


event Deposited:
    user: indexed(address)
    payer: indexed(address)
    amount: uint256
    availableBalance: uint256


event Refunded:
    user: indexed(address)
    amount: uint256
    availableBalance: uint256


event FundsTransferred:
    user: indexed(address)
    provider: indexed(address)
    service: indexed(address)
    amount: uint256
    cancelledRefund: uint256


event FundsRetrieved:
    user: indexed(address)
    service: indexed(address)
    amount: uint256
    availableBalance: uint256


struct Ledger:
    user: address
    availableBalance: uint256
    totalBalance: uint256
    additionalInfo: String[MAX_ADDITIONAL_INFO_LENGTH]


# @notice The maximum number of providers in one call of `retrieveFund`.
MAX_PROVIDERS_PER_BATCH: public(constant(uint256)) = 20

# @notice The maximum number of accounts of one user in one service.
MAX_PROVIDERS_PER_USER_PER_SERVICE: public(constant(uint256)) = 50

# @notice The maximum length of additionalInfo in bytes.
MAX_ADDITIONAL_INFO_LENGTH: public(constant(uint256)) = 4096

# @dev Decoding accepts more than the documented limits, so that longer input reverts with the named error.
MAX_INFO_DECODED: constant(uint256) = 5120
MAX_PROVIDERS_DECODED: constant(uint256) = 64

MAX_PAGE: constant(uint256) = 50
# @dev Gas limits for a service's answer and for a deletion, so that no service can block a user. Summing 50 accounts
#      costs less.
ANSWER_GAS: constant(uint256) = 500000
DELETE_GAS: constant(uint256) = 200000
# @dev Gas limit for asking all of a user's services and deleting all accounts. Deleting 200 accounts costs less.
LEAVING_GAS: constant(uint256) = 12000000
# @dev More than any user can have; a larger answer is ignored.
MAX_LOCKED: constant(uint256) = 2**96 - 1
ANSWER_BYTES: constant(uint256) = 64 + 32 * MAX_PROVIDERS_PER_USER_PER_SERVICE

AVAILABLE_MASK: constant(uint256) = 2**96 - 1
PLACE_OFFSET: constant(uint256) = 96
PLACE_MASK: constant(uint256) = 2**40 - 1
PLACE_BITS: constant(uint256) = PLACE_MASK << PLACE_OFFSET
SERVICES_OFFSET: constant(uint256) = 136
SERVICES_MASK: constant(uint256) = 2**118 - 1
FIRST_SERVICES: constant(uint256) = 118
DESCRIBED: constant(uint256) = 2**254
MORE: constant(uint256) = 2**255

LEDGERS: constant(uint256) = 0

# @notice The minimum deposit that opens a ledger, and the minimum that may remain available, in wei.
MIN_ACCOUNT_BALANCE: public(immutable(uint256))

# @notice The minimum transfer that opens an account with a provider, in wei.
MIN_TRANSFER_AMOUNT: public(immutable(uint256))

# @custom:packed _words available:96, place:40, services:118, described:1, more:1
_words: HashMap[address, uint256]

# @dev Bits 118 to 373 and 374 to 499 of the user's services.
_more: HashMap[address, uint256[2]]

_infos: HashMap[address, String[MAX_ADDITIONAL_INFO_LENGTH]]

# @dev For services whose balances the ledger stores: providers by user and service, and wei locked.
_providers: HashMap[address, HashMap[address, DynArray[address, MAX_PROVIDERS_PER_USER_PER_SERVICE]]]
_lockedIn: HashMap[address, HashMap[address, uint256]]

_locked: transient(HashMap[address, bool])

# @dev Wei that each service has sent in this transaction and that is not credited yet.
_arrived: transient(HashMap[address, uint256])


@deploy
def __init__(minAccountBalance: uint256, minTransferAmount: uint256):
    """
    @param minAccountBalance The minimum deposit that opens a ledger, in wei; not zero (3 coins on the live network).
    @param minTransferAmount The minimum transfer that opens an account, in wei; not zero (1 coin on the live
           network).
    """
    assert minAccountBalance != 0 and minTransferAmount != 0, "Minimum of zero"
    MIN_ACCOUNT_BALANCE = minAccountBalance
    MIN_TRANSFER_AMOUNT = minTransferAmount
    initializable.__init__()
    blobs.__init__()


@external
@payable
def __default__():
    """
    @notice Accepts coins that a registered service returns. Any other plain transfer reverts with
            `DirectDepositsDisabled`; calldata that matches no function reverts with empty data.
    """
    if len(msg.data) != 0:
        raw_revert(b"")
    if not registry._registered(msg.sender):
        shared_errors._direct_deposits_disabled()
    self._arrived[msg.sender] += msg.value


@external
def initialize(owner: address):
    """
    @notice Initializes a front, once. Warning: anybody may make the first call; our deployment makes it in the
            front's creation.
    @param owner The owner, who maintains the registry of services.
    @dev Reverts with `AlreadyInitialized`. Emits `OwnershipTransferred`, `Initialized`.
    """
    initializable._begin()
    ownable._transfer_ownership(owner)
    initializable._finish()


# The user's ledger


@external
@payable
def addLedger(additionalInfo: String[MAX_INFO_DECODED]) -> (uint256, uint256):
    """
    @notice Opens a ledger with the coins sent.
    @param additionalInfo At most 4096 bytes, passed to every account that the user opens.
    @return The wei deposited, and zero
    @dev Reverts with `LedgerLocked`, `MinimumDepositRequired`, `AdditionalInfoTooLong`, `LedgerExists`,
         `AmountTooLarge`. Emits `LedgerCreated`, `Deposited`.
    """
    self._check_unlocked(msg.sender)
    if msg.value < MIN_ACCOUNT_BALANCE:
        errors._minimum_deposit_required(msg.value, MIN_ACCOUNT_BALANCE)
    self._check_info(len(additionalInfo))
    word: uint256 = self._words[msg.sender]
    if word & PLACE_BITS != 0:
        errors._ledger_exists(msg.sender)
    if len(additionalInfo) != 0:
        word = self._describe(msg.sender, word, additionalInfo)
    self._words[msg.sender] = self._credit(msg.sender, self._open(msg.sender, word), msg.value)
    return msg.value, 0


@external
def updateAdditionalInfo(additionalInfo: String[MAX_INFO_DECODED]):
    """
    @notice Changes the information passed to accounts that the caller opens from now on. At most 4096 bytes.
    @dev Reverts with `LedgerLocked`, `AdditionalInfoTooLong`, `LedgerNotExists`. Emits `LedgerInfoUpdated`.
    """
    self._check_unlocked(msg.sender)
    self._check_info(len(additionalInfo))
    word: uint256 = self._existing(msg.sender)
    self._words[msg.sender] = self._describe(msg.sender, word, additionalInfo)
    log LedgerInfoUpdated(user=msg.sender, additionalInfo=additionalInfo)


@external
@payable
def depositFund():
    """
    @notice Adds the coins sent to the caller's ledger; opens it if there is none.
    @dev Reverts with `LedgerLocked`, `ZeroAmountNotAllowed`, `MinimumDepositRequired`, `AmountTooLarge`. Emits
         `LedgerCreated` if it opens a ledger, and `Deposited`.
    """
    self._deposit(msg.sender)


@external
@payable
def depositFundFor(recipient: address):
    """
    @notice Adds the coins sent to the recipient's ledger; opens it if there is none.
    @dev Reverts with `ZeroAddressNotAllowed` and the errors of `depositFund`. Emits the events of `depositFund`.
    """
    if recipient == empty(address):
        errors._zero_address()
    self._deposit(recipient)


@external
def refund(amount: uint256):
    """
    @notice Pays `amount` wei of the available balance to the caller. The remaining available balance must be zero or
            at least the minimum. If no coins remain anywhere, the ledger and its accounts are deleted.
    @dev Reverts with `LedgerLocked`, `LedgerNotExists`, `InsufficientBalance`, `MinimumDepositRequired`,
         `TransferFailed`. Emits `Refunded`, and `LedgerDeleted` if it deletes the ledger. Re-entrancy: pays last,
         with this ledger locked.
    """
    self._lock(msg.sender)
    self._refund(self._existing(msg.sender), amount)
    self._unlock(msg.sender)


@external
def refundAll():
    """
    @notice Pays the whole available balance to the caller, including small amounts that others have just deposited.
    @dev Reverts with `LedgerLocked`, `LedgerNotExists`, `TransferFailed`. Emits the events of `refund`.
    """
    self._lock(msg.sender)
    word: uint256 = self._existing(msg.sender)
    self._refund(word, self._available(word))
    self._unlock(msg.sender)


@external
def deleteLedger():
    """
    @notice Deletes the caller's ledger and its accounts if none of them holds coins. A service that refuses to delete
            an account does not block this; that account stays listed, and so do accounts whose deletion would cost
            too much gas.
    @dev Reverts with `LedgerLocked`, `LedgerNotExists`, `MustWithdrawAllFundsFirst`, `ServiceNotAnswering`. Emits
         `LedgerDeleted`. Re-entrancy: calls services last, with this ledger locked.
    """
    self._lock(msg.sender)
    word: uint256 = self._existing(msg.sender)
    gas_floor: uint256 = self._gas_floor()
    locked: uint256 = 0
    silent: address = empty(address)
    locked, silent = self._locked_total(msg.sender, word, gas_floor)
    if self._available(word) + locked != 0:
        errors._must_withdraw_first(self._available(word) + locked)
    if silent != empty(address):
        errors._service_not_answering(silent)
    self._delete(msg.sender, word, gas_floor)
    self._unlock(msg.sender)


# Between the ledger and the services


@external
def transferFund(
    provider: address, serviceName: String[registry.MAX_NAME_DECODED], amount: uint256
):
    """
    @notice Moves `amount` wei into the caller's account with the provider in that service; opens the account if there
            is none. Pending refunds of that account are cancelled first, which moves no coins. An amount of zero
            acknowledges the provider's TEE signer again.
    @dev Reverts with `LedgerLocked`, `LedgerNotExists`, `ServiceNotFound`, `MinimumDepositRequired` (for a new
         account), `TooManyProvidersForService`, `InsufficientAvailableBalance`, the service's own error, and
         `CallFailed` if the service reverts without data. Emits `FundsTransferred`. Re-entrancy: calls the service
         last, with this ledger locked.
    """
    self._lock(msg.sender)
    word: uint256 = self._existing(msg.sender)
    entry: uint256 = registry._entry(keccak256(serviceName))
    service: address = registry._address(entry)
    available: uint256 = self._available(word)
    exists: bool = False
    pending: uint256 = 0
    exists, pending = self._account(service, entry, provider)
    if not exists:
        if amount < MIN_TRANSFER_AMOUNT:
            errors._minimum_deposit_required(amount, MIN_TRANSFER_AMOUNT)
        if entry & registry.BOOK != 0:
            count: uint256 = self._ask(
                service, abi_encode(msg.sender, method_id=method_id("providerCount(address)"))
            )
            if count >= MAX_PROVIDERS_PER_USER_PER_SERVICE:
                errors._too_many_providers_for_service(count, MAX_PROVIDERS_PER_USER_PER_SERVICE)
    cancel: uint256 = min(amount, pending)
    moved: uint256 = unsafe_sub(amount, cancel)
    if entry & registry.BOOK == 0:
        self._list(msg.sender, service, provider)
    if available < moved:
        errors._insufficient_available(available, moved)
    if entry & registry.BOOK == 0:
        self._lockedIn[msg.sender][service] += moved
    word = self._mark(word, registry._index(entry))
    self._words[msg.sender] = unsafe_sub(word, moved)
    log FundsTransferred(
        user=msg.sender, provider=provider, service=service, amount=moved, cancelledRefund=cancel
    )
    if not exists:
        self._open_account(service, provider, moved)
    else:
        self._call(
            service,
            abi_encode(
                msg.sender,
                provider,
                cancel,
                method_id=method_id("depositFund(address,address,uint256)"),
            ),
            moved,
        )
    self._unlock(msg.sender)


@external
def retrieveFund(
    providers: DynArray[address, MAX_PROVIDERS_DECODED],
    serviceName: String[registry.MAX_NAME_DECODED],
):
    """
    @notice For each of up to 20 providers: collects the refunds whose lock time is over and requests a refund of the
            rest. Call it again after the lock time. Providers without an account are skipped.
    @dev Reverts with `TooManyProviders`, `ServiceNotFound`, `LedgerLocked`, `LedgerNotExists`, `RefundMismatch`,
         `AmountTooLarge`, the service's own error, and `CallFailed` if the service reverts without data. Emits
         `FundsRetrieved` if coins arrived. Re-entrancy: the ledger is locked, and only coins that arrived from this
         service during the call are credited, each once.
    """
    if len(providers) > MAX_PROVIDERS_PER_BATCH:
        errors._too_many_providers(len(providers), MAX_PROVIDERS_PER_BATCH)
    entry: uint256 = registry._entry(keccak256(serviceName))
    service: address = registry._address(entry)
    self._lock(msg.sender)
    self._existing(msg.sender)
    retrieved: uint256 = 0
    for provider: address in providers:
        if not self._account_exists(service, provider):
            continue
        before: uint256 = self._arrived[service]
        reported: uint256 = 0
        balance: uint256 = 0
        reported, balance = self._call(
            service,
            abi_encode(msg.sender, provider, method_id=method_id("processRefund(address,address)")),
            0,
        )
        arrived: uint256 = self._arrived[service] - before
        self._arrived[service] = before
        if arrived != reported:
            errors._refund_mismatch(arrived, reported)
        retrieved += arrived
        if balance != 0 or entry & registry.BOOK == 0:
            self._call(
                service,
                abi_encode(
                    msg.sender, provider, method_id=method_id("requestRefundAll(address,address)")
                ),
                0,
            )
    if retrieved != 0:
        if entry & registry.BOOK == 0:
            locked: uint256 = self._lockedIn[msg.sender][service]
            self._lockedIn[msg.sender][service] = locked - min(locked, retrieved)
        # Read here, because another user's deletion may have changed this ledger's place during the calls.
        word: uint256 = self._words[msg.sender]
        available: uint256 = self._available(word) + retrieved
        if available > AVAILABLE_MASK:
            shared_errors._amount_too_large(available, AVAILABLE_MASK)
        self._words[msg.sender] = word + retrieved
        log FundsRetrieved(
            user=msg.sender, service=service, amount=retrieved, availableBalance=available
        )
    self._unlock(msg.sender)


@external
def spendFund(user: address, amount: uint256):
    """
    @notice A service whose balances the ledger stores reports that it has paid `amount` wei of the user's coins to a
            provider. At most what that service holds for the user.
    @dev Only a registered service. Reverts with `CallerNotRegisteredService`, `LedgerLocked`, `LedgerNotExists`,
         `InsufficientAvailableBalance`. Emits `FundSpent`.
    """
    if not registry._registered(msg.sender):
        errors._caller_not_registered(msg.sender)
    self._check_unlocked(user)
    self._existing(user)
    locked: uint256 = self._lockedIn[user][msg.sender]
    if amount > locked:
        errors._insufficient_available(locked, amount)
    self._lockedIn[user][msg.sender] = locked - amount
    log FundSpent(user=user, service=msg.sender, amount=amount)


# Readers


@external
@view
def getLedger(user: address) -> Ledger:
    """
    @notice Returns a user's ledger in wei: the available balance, and the total including what the services hold. A
            service that does not answer counts as zero. Inconsistent while the user's own call is in progress.
    @dev Reverts with `LedgerNotExists`.
    """
    return self._ledger(user, self._existing(user))


@external
@view
def getAllLedgers(
    offset: uint256, limit: uint256
) -> (DynArray[Ledger, MAX_PAGE], uint256):
    """
    @notice Returns a page of all ledgers and their total number. A limit of 0, or above 50, means 50.
    """
    total: uint256 = lists._length(LEDGERS)
    page: DynArray[Ledger, MAX_PAGE] = []
    for i: uint256 in range(registry._page_size(offset, limit, total), bound=MAX_PAGE):
        user: address = convert(lists._at(LEDGERS, offset + i), address)
        page.append(self._ledger(user, self._words[user]))
    return page, total


@external
@view
def getLedgerProviders(
    user: address, serviceName: String[registry.MAX_NAME_DECODED]
) -> DynArray[address, MAX_PROVIDERS_PER_USER_PER_SERVICE]:
    """
    @notice Returns the providers with which the user has an account in that service.
    @dev Reverts with `ServiceNotFound`.
    """
    return self._providers_of(user, registry._entry(keccak256(serviceName)))


@internal
@payable
def _deposit(user: address):
    self._check_unlocked(user)
    if msg.value == 0:
        errors._zero_amount()
    word: uint256 = self._words[user]
    if word & PLACE_BITS == 0:
        if msg.value < MIN_ACCOUNT_BALANCE:
            errors._minimum_deposit_required(msg.value, MIN_ACCOUNT_BALANCE)
        word = self._open(user, word)
    self._words[user] = self._credit(user, word, msg.value)


@internal
def _open(user: address, word: uint256) -> uint256:
    """
    @dev Gives a user without a ledger a place in the list. Returns the word without storing it.
    """
    place: uint256 = lists._push(LEDGERS, convert(user, uint256)) + 1
    log LedgerCreated(user=user)
    return word | (place << PLACE_OFFSET)


@internal
def _credit(user: address, word: uint256, amount: uint256) -> uint256:
    """
    @dev Books a deposit by the caller. Returns the word without storing it.
    """
    available: uint256 = self._available(word) + amount
    if available > AVAILABLE_MASK:
        shared_errors._amount_too_large(available, AVAILABLE_MASK)
    log Deposited(user=user, payer=msg.sender, amount=amount, availableBalance=available)
    return word + amount


@internal
def _describe(user: address, word: uint256, info: String[MAX_INFO_DECODED]) -> uint256:
    """
    @dev Stores the user's additionalInfo, whose length was checked. Returns the word without storing it.
    """
    self._infos[user] = convert(info, String[MAX_ADDITIONAL_INFO_LENGTH])
    if len(info) == 0:
        return word & ~DESCRIBED
    return word | DESCRIBED


@internal
def _refund(word: uint256, amount: uint256):
    """
    @dev Pays the caller, and deletes the ledger if no coins remain anywhere. Services are asked only if nothing
         remains available. A service that does not answer keeps the ledger from being deleted, never from paying.
    """
    available: uint256 = self._available(word)
    if amount > available:
        errors._insufficient_balance(msg.sender)
    remaining: uint256 = available - amount
    if remaining != 0 and remaining < MIN_ACCOUNT_BALANCE:
        errors._minimum_deposit_required(remaining, MIN_ACCOUNT_BALANCE)
    left: uint256 = word - amount
    self._words[msg.sender] = left
    log Refunded(user=msg.sender, amount=amount, availableBalance=remaining)
    if remaining == 0:
        gas_floor: uint256 = self._gas_floor()
        locked: uint256 = 0
        silent: address = empty(address)
        locked, silent = self._locked_total(msg.sender, left, gas_floor)
        if locked == 0 and silent == empty(address):
            self._delete(msg.sender, left, gas_floor)
    if amount != 0:
        if not raw_call(msg.sender, b"", value=amount, revert_on_failure=False):
            errors._transfer_failed()


@internal
@view
def _gas_floor() -> uint256:
    """
    @dev The remaining gas at which `LEAVING_GAS` is used up.
    """
    return msg.gas - min(msg.gas, LEAVING_GAS)


@internal
def _delete(user: address, word: uint256, gas_floor: uint256):
    """
    @dev Deletes an empty ledger, then its accounts while more gas than `gas_floor` remains. Bits of services that
         still list an account stay set.
    """
    place: uint256 = (word >> PLACE_OFFSET) & PLACE_MASK
    moved: uint256 = lists._remove(LEDGERS, place - 1)
    if moved != 0:
        other: address = convert(moved, address)
        self._words[other] = (self._words[other] & ~PLACE_BITS) | (
            place << PLACE_OFFSET
        )
    if word & DESCRIBED != 0:
        self._infos[user] = ""
    kept: uint256 = word & ((SERVICES_MASK << SERVICES_OFFSET) | MORE)
    self._words[user] = kept
    log LedgerDeleted(user=user)

    for group: uint256 in range(3):
        bits: uint256 = self._services(user, word, group)
        left: uint256 = bits
        for _: uint256 in range(256):
            if bits == 0 or msg.gas < gas_floor:
                break
            number: uint256 = self._lowest(bits)
            bits &= bits - 1
            if self._delete_accounts(user, registry._at(self._index(group, number)), gas_floor):
                left &= ~(1 << number)
        if group == 0:
            kept = (kept & MORE) | (left << SERVICES_OFFSET)
        elif word & MORE != 0:
            self._more[user][group - 1] = left
    if kept & MORE != 0 and self._more[user][0] == 0 and self._more[user][1] == 0:
        kept &= ~MORE
    self._words[user] = kept


@internal
def _delete_accounts(user: address, service: uint256, gas_floor: uint256) -> bool:
    """
    @dev Deletes the user's accounts in one service, the last one first, while more gas than `gas_floor` remains.
         Returns whether no account is left.
    """
    contract: address = registry._address(service)
    providers: DynArray[address, MAX_PROVIDERS_PER_USER_PER_SERVICE] = self._providers_of(
        user, service
    )
    count: uint256 = len(providers)
    for i: uint256 in range(count, bound=MAX_PROVIDERS_PER_USER_PER_SERVICE):
        if msg.gas < gas_floor:
            break
        at: uint256 = count - 1 - i
        deleted: bool = raw_call(
            contract,
            abi_encode(
                user, providers[at], method_id=method_id("deleteAccount(address,address)")
            ),
            gas=DELETE_GAS,
            revert_on_failure=False,
        )
        if not deleted:
            self._check_given(DELETE_GAS)
        elif service & registry.BOOK == 0:
            self._unlist(user, contract, at)
    if service & registry.BOOK == 0:
        return len(self._providers[user][contract]) == 0
    answered: bool = False
    left: uint256 = 0
    answered, left = self._question(
        contract, abi_encode(user, method_id=method_id("providerCount(address)"))
    )
    return answered and left == 0


@internal
def _open_account(service: address, provider: address, amount: uint256):
    done: bool = False
    answer: Bytes[32] = b""
    done, answer = raw_call(
        service,
        abi_encode(
            msg.sender,
            provider,
            self._infos[msg.sender],
            method_id=method_id("addAccount(address,address,string)"),
        ),
        max_outsize=32,
        value=amount,
        revert_on_failure=False,
    )
    if not done:
        if len(answer) == 0:
            errors._call_failed()
        raw_call(
            service,
            abi_encode(
                msg.sender,
                provider,
                self._infos[msg.sender],
                method_id=method_id("addAccount(address,address,string)"),
            ),
            value=amount,
        )
        errors._call_failed()


@internal
@view
def _locked_total(user: address, word: uint256, gas_floor: uint256) -> (uint256, address):
    """
    @dev Returns the sum that the services hold for the user, and one service, if any, that did not answer or was not
         asked because less gas than `gas_floor` remained.
    """
    total: uint256 = 0
    silent: address = empty(address)
    for group: uint256 in range(3):
        bits: uint256 = self._services(user, word, group)
        for _: uint256 in range(256):
            if bits == 0:
                break
            service: uint256 = registry._at(self._index(group, self._lowest(bits)))
            bits &= bits - 1
            contract: address = registry._address(service)
            if service & registry.BOOK == 0:
                total += self._lockedIn[user][contract]
            else:
                answered: bool = False
                locked: uint256 = 0
                if msg.gas >= gas_floor:
                    answered, locked = self._question(
                        contract, abi_encode(user, method_id=method_id("lockedBalance(address)"))
                    )
                if answered and locked <= MAX_LOCKED:
                    total += locked
                else:
                    silent = contract
    return total, silent


@internal
@view
def _providers_of(
    user: address, service: uint256
) -> DynArray[address, MAX_PROVIDERS_PER_USER_PER_SERVICE]:
    """
    @dev The providers with which the user has accounts in a service. A malformed answer must not block a refund, so
         the answer is decoded by hand.
    """
    contract: address = registry._address(service)
    if service & registry.BOOK == 0:
        return self._providers[user][contract]
    found: DynArray[address, MAX_PROVIDERS_PER_USER_PER_SERVICE] = []
    answered: bool = False
    answer: Bytes[ANSWER_BYTES] = b""
    answered, answer = raw_call(
        contract,
        abi_encode(user, method_id=method_id("providersOf(address)")),
        max_outsize=ANSWER_BYTES,
        gas=ANSWER_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    if not answered:
        self._check_given(ANSWER_GAS)
    if answered and len(answer) >= 64:
        count: uint256 = min(convert(extract32(answer, 32), uint256), (len(answer) - 64) // 32)
        for i: uint256 in range(count, bound=MAX_PROVIDERS_PER_USER_PER_SERVICE):
            found.append(registry._address(convert(extract32(answer, 64 + 32 * i), uint256)))
    return found


@internal
def _list(user: address, service: address, provider: address):
    """
    @dev Stores an account in a service whose balances the ledger stores, at most 50.
    """
    count: uint256 = len(self._providers[user][service])
    for i: uint256 in range(count, bound=MAX_PROVIDERS_PER_USER_PER_SERVICE):
        if self._providers[user][service][i] == provider:
            return
    if count >= MAX_PROVIDERS_PER_USER_PER_SERVICE:
        errors._too_many_providers_for_service(count, MAX_PROVIDERS_PER_USER_PER_SERVICE)
    self._providers[user][service].append(provider)


@internal
def _unlist(user: address, service: address, at: uint256):
    """
    @dev Removes an account in such a service once the service reports that it does not exist.
    """
    answered: bool = False
    exists: uint256 = 0
    answered, exists = self._question(
        service,
        abi_encode(
            user,
            self._providers[user][service][at],
            method_id=method_id("accountExists(address,address)"),
        ),
    )
    if answered and exists == 0:
        last: address = self._providers[user][service].pop()
        if at != len(self._providers[user][service]):
            self._providers[user][service][at] = last


@internal
def _mark(word: uint256, index: uint256) -> uint256:
    """
    @dev Records that the caller may have accounts in the service with this number. Returns the word without storing
         it.
    """
    if index < FIRST_SERVICES:
        return word | (1 << (SERVICES_OFFSET + index))
    rest: uint256 = index - FIRST_SERVICES
    self._more[msg.sender][rest // 256] |= 1 << (rest % 256)
    return word | MORE


@internal
@view
def _services(user: address, word: uint256, group: uint256) -> uint256:
    """
    @dev The user's service bits in one of three groups: those in the word, and the two words of `_more`.
    """
    if group == 0:
        return (word >> SERVICES_OFFSET) & SERVICES_MASK
    if word & MORE == 0:
        return 0
    return self._more[user][group - 1]


@internal
@pure
def _index(group: uint256, bit: uint256) -> uint256:
    if group == 0:
        return bit
    return FIRST_SERVICES + 256 * (group - 1) + bit


@internal
@pure
def _lowest(bits: uint256) -> uint256:
    """
    @dev The position of the lowest set bit; at least one bit is set.
    """
    rest: uint256 = bits & unsafe_add(~bits, 1)
    number: uint256 = 0
    width: uint256 = 128
    for _: uint256 in range(8):
        if rest >> width != 0:
            rest >>= width
            number += width
        width //= 2
    return number


@internal
@view
def _account(service: address, entry: uint256, provider: address) -> (bool, uint256):
    """
    @dev Returns whether the caller has an account with the provider, and its pending refund. A service that reports
         balances answers the second question if and only if there is an account; any other is asked both.
    """
    pending: Bytes[68] = abi_encode(
        msg.sender, provider, method_id=method_id("getPendingRefund(address,address)")
    )
    if entry & registry.BOOK != 0:
        return self._question(service, pending)
    if not self._account_exists(service, provider):
        return False, 0
    return True, self._ask(service, pending)


@internal
@view
def _account_exists(service: address, provider: address) -> bool:
    return (
        self._ask(
            service,
            abi_encode(msg.sender, provider, method_id=method_id("accountExists(address,address)")),
        )
        != 0
    )


@internal
@view
def _ask(service: address, question: Bytes[68]) -> uint256:
    """
    @dev A service's answer of one word. Passes on the service's error; an answer of another length is `CallFailed`.
    """
    answered: bool = False
    answer: Bytes[32] = b""
    answered, answer = raw_call(
        service, question, max_outsize=32, is_static_call=True, revert_on_failure=False
    )
    if not answered and len(answer) != 0:
        # Repeat the call: only a call that is not caught passes on revert data of any size.
        raw_call(service, question, is_static_call=True)
    if not answered or len(answer) != 32:
        errors._call_failed()
    return convert(answer, uint256)


@internal
@view
def _question(service: address, question: Bytes[68]) -> (bool, uint256):
    """
    @dev Like `_ask`, for calls in which a service must not block the user: no answer is accepted, and its gas is
         limited.
    """
    answered: bool = False
    answer: Bytes[32] = b""
    answered, answer = raw_call(
        service,
        question,
        max_outsize=32,
        gas=ANSWER_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    if not answered:
        self._check_given(ANSWER_GAS)
    if not answered or len(answer) != 32:
        return False, 0
    return True, convert(answer, uint256)


@internal
@view
def _check_given(given: uint256):
    """
    @dev Called after a failed call that should have received `given` gas. If so little remains that it received less,
         the call may have failed for lack of gas, which must not count as a refusal. Otherwise a client that searches
         for the lowest gas limit with which a deletion succeeds would find one with which nothing is deleted.
    """
    if msg.gas < given // 32:
        errors._call_failed()


@internal
def _call(service: address, data: Bytes[100], coins: uint256) -> (uint256, uint256):
    """
    @dev Calls a service and passes on its error; a revert without data is `CallFailed`. Returns the first two words
         of the answer, zeros if it is shorter.
    """
    done: bool = False
    answer: Bytes[64] = b""
    done, answer = raw_call(service, data, max_outsize=64, value=coins, revert_on_failure=False)
    if not done:
        if len(answer) == 0:
            errors._call_failed()
        # The failed call changed nothing. Repeat it: only a call that is not caught passes on revert data of any size.
        raw_call(service, data, value=coins)
        errors._call_failed()
    if len(answer) != 64:
        return 0, 0
    return convert(extract32(answer, 0), uint256), convert(extract32(answer, 32), uint256)


@internal
@view
def _ledger(user: address, word: uint256) -> Ledger:
    locked: uint256 = 0
    silent: address = empty(address)
    locked, silent = self._locked_total(user, word, 0)
    return Ledger(
        user=user,
        availableBalance=self._available(word),
        totalBalance=self._available(word) + locked,
        additionalInfo=self._infos[user],
    )


@internal
@pure
def _available(word: uint256) -> uint256:
    return word & AVAILABLE_MASK


@internal
@view
def _existing(user: address) -> uint256:
    """
    @dev Returns the user's word. Reverts with `LedgerNotExists`.
    """
    word: uint256 = self._words[user]
    if word & PLACE_BITS == 0:
        errors._ledger_not_exists(user)
    return word


@internal
@view
def _check_unlocked(user: address):
    if self._locked[user]:
        errors._ledger_locked()


@internal
def _lock(user: address):
    if self._locked[user]:
        errors._ledger_locked()
    self._locked[user] = True


@internal
def _unlock(user: address):
    self._locked[user] = False


@internal
@pure
def _check_info(length: uint256):
    if length > MAX_ADDITIONAL_INFO_LENGTH:
        errors._additional_info_too_long(length, MAX_ADDITIONAL_INFO_LENGTH)
