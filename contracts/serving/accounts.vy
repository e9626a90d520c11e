# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Accounts of users with providers
@custom:contract-name accounts
@license Apache-2.0
@author Serving Network maintainers
@notice There is one account per (user, provider). It records the user's coins in this service for that provider, the
        part of them that is being refunded, and the last settled nonce. Both services are built on this module. Only
        the ledger opens, funds, refunds and deletes accounts; see `ledger_calls`.

        Everything that a settlement reads and writes is in one word:

            255              254   191 190    189       187 186      185         184    183             92 91        0
            [ acknowledged:1 | nonce:64 | free:1 | refunds:3 | exists:1 | described:1 | flag:1 | pendingRefund:92 | balance:92 ]

        balance       wei; 2**92 wei is about five billion coins, four times the supply
        pendingRefund wei, part of the balance: the sum of the active refunds
        nonce         nonce of the last settlement; survives deletion, so that no settlement is paid twice
        refunds       number of active refunds, 0 to 5
        acknowledged  the user accepts the provider's TEE signer; implies exists
        described     additionalInfo is not empty
        flag          defined by the service (fine-tuning: a penalty was charged and the user has not acted since)

        A refund takes half a word; refunds are stored oldest first:

            127          92 91        0
            [ createdAt:36 | amount:92 ]

@dev An account has one word in each of three lists:

         by user:      [ posProvider:32 | posAll:32  | provider:160 ]
         by provider:  [ 0              | posUser:32 | user:160     ]
         all:          [ 0              | posUser:32 | user:160     ]

     The entry in the user's list holds the positions of the other two entries, and they hold its position. A removal
     therefore moves at most three last entries. It searches only the user's own list, from the end; the ledger limits
     that list to 50 entries.
@custom:risk A settlement pays whatever was signed by the TEE signer that the user and the owner acknowledged. A
        stolen signer key costs at most the balances of the accounts that acknowledged it.
@custom:mitigation Users keep small balances with each provider and request refunds of the rest. The owner revokes the
        acknowledgement of the signer, which stops the provider's settlements at once.
"""

from . import blobs
from . import errors
from . import lists

uses: blobs
uses: lists


event BalanceUpdated:
    user: indexed(address)
    provider: indexed(address)
    amount: uint256
    pendingRefund: uint256


event RefundRequested:
    user: indexed(address)
    provider: indexed(address)
    index: indexed(uint256)
    timestamp: uint256


event AccountDeleted:
    user: indexed(address)
    provider: indexed(address)
    refundedAmount: uint256


event LockTimeUpdated:
    oldLockTime: uint256
    newLockTime: uint256


MAX_COINS: constant(uint256) = 2**92 - 1
MAX_NONCE: constant(uint256) = 2**64 - 1
MAX_REFUNDS: constant(uint256) = 5
MAX_PAGE: constant(uint256) = 50
# @dev Decoding accepts more than the documented limit, so that longer input reverts with the named error.
MAX_INFO: constant(uint256) = 4096
MAX_INFO_DECODED: constant(uint256) = 5120
# @dev Above the ledger's limit of 50 providers per user and service.
MAX_PROVIDERS: constant(uint256) = 256
MAX_ACCOUNTS: constant(uint256) = 2**32 - 1

COINS_MASK: constant(uint256) = MAX_COINS
PENDING_OFFSET: constant(uint256) = 92
FLAG: constant(uint256) = 2**184
DESCRIBED: constant(uint256) = 2**185
EXISTS: constant(uint256) = 2**186
REFUNDS_OFFSET: constant(uint256) = 187
REFUNDS_MASK: constant(uint256) = 7
ONE_REFUND: constant(uint256) = 2**187
NONCE_OFFSET: constant(uint256) = 191
NONCE_MASK: constant(uint256) = MAX_NONCE
NONCE_BITS: constant(uint256) = NONCE_MASK << NONCE_OFFSET
ACKNOWLEDGED_OFFSET: constant(uint256) = 255
ACKNOWLEDGED: constant(uint256) = 2**255

CREATED_OFFSET: constant(uint256) = 92
REFUND_BITS: constant(uint256) = 128
REFUND_MASK: constant(uint256) = 2**128 - 1

ADDRESS_MASK: constant(uint256) = 2**160 - 1
POSITION_MASK: constant(uint256) = 2**32 - 1
POSITION_OFFSET: constant(uint256) = 160
POS_ALL_OFFSET: constant(uint256) = 160
POS_ALL_MASK: constant(uint256) = POSITION_MASK << POS_ALL_OFFSET
POS_PROVIDER_OFFSET: constant(uint256) = 192
POS_PROVIDER_MASK: constant(uint256) = POSITION_MASK << POS_PROVIDER_OFFSET

ALL: constant(uint256) = 0
BY_USER: constant(uint256) = 1 << 160
BY_PROVIDER: constant(uint256) = 2 << 160


struct Refund:
    index: uint256
    amount: uint256
    createdAt: uint256
    processed: bool


# @notice The ledger of this service.
ledgerAddress: public(address)

# @notice Seconds between the request for a refund and its payment.
lockTime: public(uint256)

# @custom:packed _words balance:92, pendingRefund:92, flag:1, described:1, exists:1, refunds:3, free:1, nonce:64, acknowledged:1
_words: HashMap[bytes32, uint256]

# @custom:packed _refunds amount:92, createdAt:36, amount2:92, createdAt2:36
_refunds: HashMap[bytes32, uint256[3]]

_infos: HashMap[bytes32, address]


@external
@view
def accountExists(user: address, provider: address) -> bool:
    """
    @notice Returns whether the user has an account with the provider.
    """
    return self._exists(self._word(user, provider))


@external
@view
def getPendingRefund(user: address, provider: address) -> uint256:
    """
    @notice Returns the wei of the account that were requested back and are not paid yet.
    @dev Reverts with `AccountNotExists`.
    """
    return self._pending(self._existing(user, provider))


@external
@view
def lockedBalance(user: address) -> uint256:
    """
    @notice Returns the wei that the user has in this service with all providers together. The ledger calls this
            instead of storing the sum itself.
    """
    by_user: uint256 = self._by_user(user)
    total: uint256 = 0
    for i: uint256 in range(lists._length(by_user), bound=MAX_ACCOUNTS):
        provider: address = self._address(lists._at(by_user, i))
        total += self._word(user, provider) & COINS_MASK
    return total


@external
@view
def providerCount(user: address) -> uint256:
    """
    @notice Returns the number of the user's accounts in this service.
    """
    return lists._length(self._by_user(user))


@external
@view
def providersOf(user: address) -> DynArray[address, MAX_PROVIDERS]:
    """
    @notice Returns the providers with which the user has an account, in insertion order, at most 256.
    """
    by_user: uint256 = self._by_user(user)
    found: DynArray[address, MAX_PROVIDERS] = []
    count: uint256 = min(lists._length(by_user), MAX_PROVIDERS)
    for i: uint256 in range(count, bound=MAX_PROVIDERS):
        found.append(self._address(lists._at(by_user, i)))
    return found


@internal
@pure
def _address(entry: uint256) -> address:
    return convert(entry & ADDRESS_MASK, address)


@internal
@pure
def _by_user(user: address) -> uint256:
    return BY_USER | convert(user, uint256)


@internal
@pure
def _by_provider(provider: address) -> uint256:
    return BY_PROVIDER | convert(provider, uint256)


@internal
@pure
def _key(user: address, provider: address) -> bytes32:
    """
    @dev The key of an account in every map. Loops over rows compute this hash inline: the call costs more gas than
         the hash.
    """
    return keccak256(abi_encode(provider, user))


@internal
@view
def _word(user: address, provider: address) -> uint256:
    return self._words[self._key(user, provider)]


@internal
@view
def _existing(user: address, provider: address) -> uint256:
    """
    @dev Returns the account's word. Reverts with `AccountNotExists`.
    """
    word: uint256 = self._words[self._key(user, provider)]
    if not self._exists(word):
        errors._account_not_exists(user, provider)
    return word


@internal
@pure
def _check_parties(user: address, provider: address):
    if user == empty(address):
        errors._invalid_address(user)
    if provider == empty(address):
        errors._invalid_address(provider)
    if user == provider:
        errors._provider_cannot_be_user()


@internal
def _open(user: address, provider: address, amount: uint256, info: String[MAX_INFO_DECODED]):
    """
    @dev Opens the account with `amount` wei and acknowledges the signer. A deleted account keeps its nonce.
    """
    self._check_parties(user, provider)
    key: bytes32 = self._key(user, provider)
    word: uint256 = self._words[key]
    if self._exists(word):
        errors._account_exists(user, provider)
    if amount > MAX_COINS:
        errors._amount_too_large(amount, MAX_COINS)
    word |= amount | ACKNOWLEDGED | EXISTS
    if len(info) != 0:
        self._write_info(key, info)
        word |= DESCRIBED
    self._words[key] = word
    self._enlist(user, provider)
    self._log_balance(user, provider, word)


@internal
def _write_info(key: bytes32, info: String[MAX_INFO_DECODED]):
    prefix: bytes11 = blobs._creation_prefix(len(info))
    self._infos[key] = raw_create(concat(prefix, convert(info, Bytes[MAX_INFO_DECODED])))


@internal
@view
def _info(key: bytes32, word: uint256) -> String[MAX_INFO]:
    if word & DESCRIBED == 0:
        return ""
    return convert(
        raw_call(
            blobs.READER,
            abi_encode(self._infos[key]),
            max_outsize=MAX_INFO,
            is_static_call=True,
        ),
        String[MAX_INFO],
    )


@internal
def _deposit(user: address, provider: address, amount: uint256, cancel: uint256):
    """
    @dev Adds `amount` wei, cancels up to `cancel` wei of refunds, newest first, and acknowledges the TEE signer,
         because a transfer is an action of the user. Clears the service's flag for the same reason.
    """
    key: bytes32 = self._key(user, provider)
    word: uint256 = self._words[key]
    if not self._exists(word):
        self._check_parties(user, provider)
        errors._account_not_exists(user, provider)
    balance: uint256 = self._balance(word) + amount
    if balance > MAX_COINS:
        errors._amount_too_large(balance, MAX_COINS)
    word = ((word & ~FLAG) | ACKNOWLEDGED) + amount
    pending: uint256 = self._pending(word)
    if cancel != 0 and pending != 0:
        word = self._cancel(key, word, min(cancel, pending))
    self._words[key] = word
    self._log_balance(user, provider, word)


@internal
def _charge(key: bytes32, word: uint256, nonce: uint256, amount: uint256) -> uint256:
    """
    @dev Takes `amount` wei, at most the balance, for a settlement and stores its nonce, which is greater than the
         last one and at most `MAX_NONCE`. Cancels refunds, newest first, that the remaining balance does not cover.
         Returns the account's new word.
    """
    charged: uint256 = self._cover(
        key, ((word & ~NONCE_BITS) | (nonce << NONCE_OFFSET)) - amount
    )
    self._words[key] = charged
    return charged


@internal
def _cover(key: bytes32, word: uint256) -> uint256:
    """
    @dev Cancels refunds, newest first, until the balance covers them. Returns the account's word without storing it.
    """
    balance: uint256 = word & COINS_MASK
    pending: uint256 = (word >> PENDING_OFFSET) & COINS_MASK
    if pending <= balance:
        return word
    return self._cancel(key, word, pending - balance)


@internal
def _cancel(key: bytes32, word: uint256, amount: uint256) -> uint256:
    """
    @dev Cancels `amount` wei, at most the pending amount, of the active refunds, newest first. A refund that is
         cancelled in part keeps its age. Returns the account's word without storing it.
    """
    left: uint256 = amount
    after: uint256 = word - (amount << PENDING_OFFSET)
    for _: uint256 in range(MAX_REFUNDS):
        if left == 0:
            break
        index: uint256 = self._refund_count(after) - 1
        newest: uint256 = self._refund(key, index)
        size: uint256 = newest & COINS_MASK
        if size > left:
            self._set_refund(key, index, newest - left)
            break
        left -= size
        after -= ONE_REFUND
    return after


@internal
def _request_refund(user: address, provider: address):
    """
    @dev Requests a refund of everything that is not requested yet. If five refunds are active, the amount is added to
         the newest one and its lock time restarts. Emits `RefundRequested` for the newest active refund, even if
         nothing was added.
    """
    key: bytes32 = self._key(user, provider)
    word: uint256 = self._words[key]
    if not self._exists(word):
        errors._account_not_exists(user, provider)
    count: uint256 = self._refund_count(word)
    amount: uint256 = self._balance(word) - self._pending(word)
    if amount != 0:
        word += amount << PENDING_OFFSET
        if count == MAX_REFUNDS:
            amount += self._refund(key, MAX_REFUNDS - 1) & COINS_MASK
        else:
            word += ONE_REFUND
            count += 1
        self._set_refund(key, count - 1, amount | (block.timestamp << CREATED_OFFSET))
        self._words[key] = word
    if count != 0:
        log RefundRequested(user=user, provider=provider, index=count - 1, timestamp=block.timestamp)


@internal
def _mature(user: address, provider: address) -> (uint256, uint256, uint256):
    """
    @dev Removes the refunds whose lock time is over and keeps the others in order. Returns the amount to pay, the
         balance and the pending amount. The caller sends the coins last.
    """
    key: bytes32 = self._key(user, provider)
    word: uint256 = self._words[key]
    if not self._exists(word):
        errors._account_not_exists(user, provider)
    balance: uint256 = self._balance(word)
    pending: uint256 = self._pending(word)
    paid: uint256 = 0
    count: uint256 = self._refund_count(word)
    if count != 0:
        lock: uint256 = self.lockTime
        kept: uint256 = 0
        for i: uint256 in range(count, bound=MAX_REFUNDS):
            refund: uint256 = self._refund(key, i)
            if block.timestamp >= (refund >> CREATED_OFFSET) + lock:
                paid += refund & COINS_MASK
                word -= ONE_REFUND
            else:
                if kept != i:
                    self._set_refund(key, kept, refund)
                kept += 1
        if paid != 0:
            balance -= paid
            pending -= paid
            word -= paid | (paid << PENDING_OFFSET)
            self._words[key] = word
            self._log_balance(user, provider, word)
    return paid, balance, pending


@internal
def _log_balance(user: address, provider: address, word: uint256):
    """
    @dev Emits `BalanceUpdated` for an account's new word.
    """
    log BalanceUpdated(
        user=user,
        provider=provider,
        amount=self._balance(word),
        pendingRefund=self._pending(word),
    )


@internal
@pure
def _exists(word: uint256) -> bool:
    return word & EXISTS != 0


@internal
@pure
def _balance(word: uint256) -> uint256:
    return word & COINS_MASK


@internal
@pure
def _pending(word: uint256) -> uint256:
    return (word >> PENDING_OFFSET) & COINS_MASK


@internal
@pure
def _nonce(word: uint256) -> uint256:
    return (word >> NONCE_OFFSET) & NONCE_MASK


@internal
@pure
def _refund_count(word: uint256) -> uint256:
    """
    @dev The number of active refunds.
    """
    return (word >> REFUNDS_OFFSET) & REFUNDS_MASK


@internal
@view
def _refund(key: bytes32, index: uint256) -> uint256:
    return (self._refunds[key][index // 2] >> (REFUND_BITS * (index % 2))) & REFUND_MASK


@internal
def _set_refund(key: bytes32, index: uint256, refund: uint256):
    offset: uint256 = REFUND_BITS * (index % 2)
    word: uint256 = self._refunds[key][index // 2]
    self._refunds[key][index // 2] = (word & ~(REFUND_MASK << offset)) | (refund << offset)


@internal
@view
def _active_refunds(key: bytes32, word: uint256) -> DynArray[Refund, MAX_REFUNDS]:
    active: DynArray[Refund, MAX_REFUNDS] = []
    for i: uint256 in range(self._refund_count(word), bound=MAX_REFUNDS):
        refund: uint256 = self._refund(key, i)
        active.append(
            Refund(
                index=i,
                amount=refund & COINS_MASK,
                createdAt=refund >> CREATED_OFFSET,
                processed=False,
            )
        )
    return active


@internal
def _acknowledge(user: address, provider: address, acknowledged: bool):
    """
    @dev Sets or clears the user's acknowledgement of the provider's TEE signer. It cannot be cleared while the
         account holds coins.
    """
    word: uint256 = self._existing(user, provider)
    if acknowledged:
        word = (word | ACKNOWLEDGED) & ~FLAG
    else:
        balance: uint256 = self._balance(word)
        if balance != 0:
            errors._cannot_revoke(user, provider, balance)
        word = word & ~(ACKNOWLEDGED | FLAG)
    self._words[self._key(user, provider)] = word


@internal
def _delete(user: address, provider: address) -> bool:
    """
    @dev Deletes the account except for its nonce. Reverts with `AccountNotEmpty` if it holds coins. Returns whether
         the account existed.
    """
    key: bytes32 = self._key(user, provider)
    word: uint256 = self._words[key]
    existed: bool = self._exists(word)
    if existed:
        balance: uint256 = self._balance(word)
        if balance != 0:
            errors._account_not_empty(user, provider, balance)
        self._words[key] = word & NONCE_BITS
        if word & DESCRIBED != 0:
            self._infos[key] = empty(address)
        self._delist(user, provider)
    log AccountDeleted(user=user, provider=provider, refundedAmount=0)
    return existed


@internal
def _enlist(user: address, provider: address):
    by_user: uint256 = self._by_user(user)
    account: uint256 = convert(user, uint256) | (lists._length(by_user) << POSITION_OFFSET)
    in_all: uint256 = lists._push(ALL, account)
    of_provider: uint256 = lists._push(self._by_provider(provider), account)
    lists._push(
        by_user,
        convert(provider, uint256)
        | (in_all << POS_ALL_OFFSET)
        | (of_provider << POS_PROVIDER_OFFSET),
    )


@internal
def _delist(user: address, provider: address):
    by_user: uint256 = self._by_user(user)
    position: uint256 = lists._length(by_user)
    entry: uint256 = 0
    for _: uint256 in range(position, bound=MAX_ACCOUNTS):
        position -= 1
        entry = lists._at(by_user, position)
        if self._address(entry) == provider:
            break

    in_all: uint256 = (entry >> POS_ALL_OFFSET) & POSITION_MASK
    moved: uint256 = lists._remove(ALL, in_all)
    if moved != 0:
        self._point(moved, POS_ALL_MASK, in_all << POS_ALL_OFFSET)

    of_provider: uint256 = entry >> POS_PROVIDER_OFFSET
    moved = lists._remove(self._by_provider(provider), of_provider)
    if moved != 0:
        self._point(moved, POS_PROVIDER_MASK, of_provider << POS_PROVIDER_OFFSET)

    moved = lists._remove(by_user, position)
    if moved != 0:
        account: uint256 = convert(user, uint256) | (position << POSITION_OFFSET)
        lists._set(ALL, (moved >> POS_ALL_OFFSET) & POSITION_MASK, account)
        lists._set(
            self._by_provider(self._address(moved)), moved >> POS_PROVIDER_OFFSET, account
        )


@internal
def _point(account: uint256, mask: uint256, position: uint256):
    """
    @dev Stores the new position of an account's other entry in the entry of the user's list.
    """
    by_user: uint256 = self._by_user(self._address(account))
    entry: uint256 = lists._at(by_user, account >> POSITION_OFFSET)
    lists._set(by_user, account >> POSITION_OFFSET, (entry & ~mask) | position)


@internal
@view
def _listed(kind: uint256, key: address) -> uint256:
    """
    @dev Returns the length of a list of accounts: `ALL`, or those of a user or a provider.
    """
    return lists._length(kind | convert(key, uint256))


@internal
@view
def _account_at(kind: uint256, key: address, position: uint256) -> (address, address):
    """
    @dev Returns user and provider of one account of a list.
    """
    entry: uint256 = lists._at(kind | convert(key, uint256), position)
    party: address = self._address(entry)
    if kind == BY_USER:
        return key, party
    if kind == BY_PROVIDER:
        return party, key
    return party, self._address(lists._at(self._by_user(party), entry >> POSITION_OFFSET))


@internal
@pure
def _page_size(offset: uint256, limit: uint256, total: uint256) -> uint256:
    """
    @dev Returns the number of entries of a page. A limit of 0 means 50; an offset past the end gives an empty page.
    """
    if offset >= total:
        return 0
    size: uint256 = limit
    if size == 0:
        size = MAX_PAGE
    return min(size, total - offset)
