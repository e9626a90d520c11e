# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title What is proven of settlements of several users
@notice Ledger and owner of one inference service in one, with one confirmed provider. Settlements here have one or two
        entries, with a signature each or with one for all. Arguments of `check_` functions are any values at all.
"""

from . import cheats
from . import state
from . import world

CODE: constant(Bytes[32768]) = x"00{InferenceServing}"
WORDS: constant(uint256) = {InferenceServing:accounts._words}
PROVIDERS: constant(uint256) = {InferenceServing:services._words}

USER: constant(address) = 0x1000000000000000000000000000000000000001
OTHER: constant(address) = 0x1000000000000000000000000000000000000002
PROVIDER: constant(address) = 0x2000000000000000000000000000000000000001

FEE: constant(uint256) = 2**96 - 1

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
BATCH_TYPEHASH: constant(bytes32) = keccak256(
    "TEESettlementBatch(address provider,UserSettlement[] settlements)UserSettlement(address user,uint256 totalFee,uint256 nonce,bytes32 requestsHash)"
)
ROW_TYPEHASH: constant(bytes32) = keccak256(
    "UserSettlement(address user,uint256 totalFee,uint256 nonce,bytes32 requestsHash)"
)
HALF_ORDER: constant(uint256) = (
    57896044618658097711785492504343953926418782139537452191302581570759080747168
)


struct Row:
    userAndFee: uint256
    nonce: uint256
    requestsHash: bytes32


struct Entry:
    user: address
    provider: address
    totalFee: uint256
    requestsHash: bytes32
    nonce: uint256
    signature: Bytes[65]


front: address
beacon: address


interface Serving:
    def addAccount(user: address, provider: address, info: String[32]): payable
    def settleFeesWithTEE(entries: DynArray[Entry, 2]) -> DynArray[uint8, 2]: nonpayable
    def settleBatchWithTEE(rows: DynArray[Row, 2], signature: Bytes[65]) -> uint256[4]: nonpayable


@deploy
@payable
def __init__():
    self.front, self.beacon = world._front(raw_create(slice(CODE, 1, len(CODE) - 1)))
    world._initialize(self.front, self, self)
    world._register(self.front, PROVIDER)


@external
def check_two_users_in_a_batch_do_not_affect_each_other(
    amount: uint256, more: uint256, fee: uint256, other_fee: uint256, nonce: uint256, other_nonce: uint256, r: bytes32,
    s: bytes32, v: uint8
):
    """
    @notice Two rows of two users: each balance decreases by the smaller of its own fee and balance, or does not change
    if its row is rejected; the provider is paid the sum, which is what the service loses.
    """
    self._open(USER, amount)
    self._open(OTHER, more)
    had: uint256 = PROVIDER.balance
    held: uint256 = self.front.balance
    statuses: uint256 = self._batch(
        [self._row(USER, fee & FEE, nonce), self._row(OTHER, other_fee & FEE, other_nonce)], r, s, v
    )
    paid: uint256 = self._taken(amount, fee & FEE, statuses & 15)
    other_paid: uint256 = self._taken(more, other_fee & FEE, (statuses >> 4) & 15)
    cheats._holds(
        (
            ((self._word(USER) & state.COINS) ^ unsafe_sub(amount, paid))
            | ((self._word(OTHER) & state.COINS) ^ unsafe_sub(more, other_paid))
            | (PROVIDER.balance ^ unsafe_add(had, unsafe_add(paid, other_paid)))
            | (self.front.balance ^ unsafe_sub(held, unsafe_add(paid, other_paid)))
        )
        == 0
    )


@external
def check_a_user_with_two_rows_in_a_batch_pays_each_once(
    amount: uint256, fee: uint256, later_fee: uint256, nonce: uint256, later: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice Two rows of one user: the second is paid from the remaining balance, and only if its nonce is larger; the
    provider is paid what the balance decreases by.
    """
    self._open(USER, amount)
    had: uint256 = PROVIDER.balance
    statuses: uint256 = self._batch(
        [self._row(USER, fee & FEE, nonce), self._row(USER, later_fee & FEE, later)], r, s, v
    )
    paid: uint256 = self._taken(amount, fee & FEE, statuses & 15)
    later_paid: uint256 = self._taken(amount - paid, later_fee & FEE, (statuses >> 4) & 15)
    cheats._holds(
        (
            ((self._word(USER) & state.COINS) ^ unsafe_sub(amount, unsafe_add(paid, later_paid)))
            | (PROVIDER.balance ^ unsafe_add(had, unsafe_add(paid, later_paid)))
        )
        == 0
    )
    if statuses & 15 <= 1 and statuses >> 4 <= 1:
        cheats._holds(later > nonce)


@external
def check_two_users_in_two_entries_do_not_affect_each_other(
    amount: uint256, more: uint256, fee: uint256, other_fee: uint256, nonce: uint256, other_nonce: uint256, r: bytes32,
    s: bytes32, v: uint8
):
    """
    @notice The same with a signature for each of two users: each balance decreases by its own entry, and the provider
    is paid the sum.
    """
    self._open(USER, amount)
    self._open(OTHER, more)
    had: uint256 = PROVIDER.balance
    cheats._prank(PROVIDER)
    statuses: DynArray[uint8, 2] = extcall Serving(self.front).settleFeesWithTEE(
        [self._entry(USER, fee, nonce, r, s, v), self._entry(OTHER, other_fee, other_nonce, s, r, v)]
    )
    paid: uint256 = self._taken(amount, fee, convert(statuses[0], uint256))
    other_paid: uint256 = self._taken(more, other_fee, convert(statuses[1], uint256))
    cheats._holds(
        (
            ((self._word(USER) & state.COINS) ^ unsafe_sub(amount, paid))
            | ((self._word(OTHER) & state.COINS) ^ unsafe_sub(more, other_paid))
            | (PROVIDER.balance ^ unsafe_add(had, unsafe_add(paid, other_paid)))
        )
        == 0
    )


@external
def check_a_user_with_two_entries_pays_each_once(
    amount: uint256, fee: uint256, later_fee: uint256, nonce: uint256, later: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice The same user in both entries: the second is paid from the remaining balance, and only if its nonce is
    larger.
    """
    self._open(USER, amount)
    had: uint256 = PROVIDER.balance
    cheats._prank(PROVIDER)
    statuses: DynArray[uint8, 2] = extcall Serving(self.front).settleFeesWithTEE(
        [self._entry(USER, fee, nonce, r, s, v), self._entry(USER, later_fee, later, s, r, v)]
    )
    paid: uint256 = self._taken(amount, fee, convert(statuses[0], uint256))
    later_paid: uint256 = self._taken(amount - paid, later_fee, convert(statuses[1], uint256))
    cheats._holds(
        (
            ((self._word(USER) & state.COINS) ^ unsafe_sub(amount, unsafe_add(paid, later_paid)))
            | (PROVIDER.balance ^ unsafe_add(had, unsafe_add(paid, later_paid)))
        )
        == 0
    )
    if statuses[0] <= 1 and statuses[1] <= 1:
        cheats._holds(later > nonce)


@external
def check_no_batch_is_paid_without_the_confirmed_signers_signature(
    service: uint256, word: uint256, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice Whatever the provider's and the account's words are: if a row is paid, user and owner have confirmed, and
            the signature recovers to the confirmed signer over exactly this row and provider, in this contract and on
            this chain, with s in the lower half. What the precompile answers for a v other than 27 and 28 is assumed.
    """
    assert (v == 27 or v == 28) and fee < 2**96
    self._open(USER, 0)
    cheats._deal(self.front, state.HELD)
    cheats._store(self.front, self._place(USER), word)
    cheats._store(self.front, cheats._slot(PROVIDERS, convert(PROVIDER, uint256)), service)
    status: uint256 = self._batch([self._row(USER, fee, nonce)], r, s, v)
    if status <= 1:
        recovered: address = ecrecover(
            self._digest(fee, nonce), convert(v, uint256), convert(r, uint256), convert(s, uint256)
        )
        cheats._holds(convert(recovered, uint256) == service & (2**160 - 1) and recovered != empty(address))
        cheats._holds(service >> 255 == 1 and word >> 255 == 1)
        cheats._holds(convert(s, uint256) <= HALF_ORDER)
        cheats._holds(nonce > (word >> 191) & (2**64 - 1) and nonce < 2**64)
    else:
        cheats._holds(self._word(USER) == word)


@external
def check_the_same_batch_is_never_paid_twice(
    amount: uint256, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice A batch that is presented a second time, unchanged, pays nothing, even if the first time only used the nonce
    without a payment.
    """
    self._open(USER, amount)
    row: Row = self._row(USER, fee & FEE, nonce)
    assert self._batch([row], r, s, v) <= 1
    left: uint256 = self._word(USER)
    had: uint256 = PROVIDER.balance
    cheats._holds(self._batch([row], r, s, v) > 1)
    cheats._holds(self._word(USER) == left)
    cheats._holds(PROVIDER.balance == had)


@external
def check_batches_and_entries_share_their_nonces(
    amount: uint256, fee: uint256, nonce: uint256, later_fee: uint256, later: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice After an entry with its own signature is settled, no row of a batch with a nonce up to that one is settled,
    and vice versa.
    """
    self._open(USER, amount)
    assert later <= nonce
    if amount % 2 == 0:
        assert self._settle(USER, fee, nonce, r, s, v) <= 1
        cheats._holds(self._batch([self._row(USER, later_fee & FEE, later)], r, s, v) > 1)
    else:
        assert self._batch([self._row(USER, fee & FEE, nonce)], r, s, v) <= 1
        cheats._holds(self._settle(USER, later_fee, later, r, s, v) > 1)


@external
def check_a_row_for_any_user_touches_no_other_users_account(
    user: address, word: uint256, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice A row for any user does not change the word of any account of another user, whatever it is.
    """
    assert user != OTHER
    self._open(OTHER, 0)
    cheats._store(self.front, self._place(OTHER), word)
    self._batch([self._row(user, fee & FEE, nonce)], r, s, v)
    cheats._holds(self._word(OTHER) == word)


@external
def check_planted_a_batch_pays_even_without_a_signature(
    amount: uint256, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice False on purpose: if this could not be refuted, the claims about batches would prove nothing.
    """
    self._open(USER, amount)
    cheats._holds(self._batch([self._row(USER, fee & FEE, nonce)], r, s, v) > 1)


@internal
@pure
def _taken(amount: uint256, fee: uint256, status: uint256) -> uint256:
    if status > 1:
        return 0
    return state._least(amount, fee)


@internal
def _open(user: address, amount: uint256):
    extcall Serving(self.front).addAccount(user, PROVIDER, "", value=amount)


@internal
def _settle(user: address, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8) -> uint256:
    cheats._prank(PROVIDER)
    statuses: DynArray[uint8, 2] = extcall Serving(self.front).settleFeesWithTEE(
        [self._entry(user, fee, nonce, r, s, v)]
    )
    return convert(statuses[0], uint256)


@internal
def _batch(rows: DynArray[Row, 2], r: bytes32, s: bytes32, v: uint8) -> uint256:
    cheats._prank(PROVIDER)
    statuses: uint256[4] = extcall Serving(self.front).settleBatchWithTEE(
        rows, concat(r, s, convert(v, bytes1))
    )
    return statuses[0]


@internal
@pure
def _row(user: address, fee: uint256, nonce: uint256) -> Row:
    return Row(
        userAndFee=(convert(user, uint256) << 96) | fee, nonce=nonce, requestsHash=empty(bytes32)
    )


@internal
@pure
def _entry(user: address, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8) -> Entry:
    return Entry(
        user=user,
        provider=PROVIDER,
        totalFee=fee,
        requestsHash=empty(bytes32),
        nonce=nonce,
        signature=concat(r, s, convert(v, bytes1)),
    )


@internal
@view
def _digest(fee: uint256, nonce: uint256) -> bytes32:
    """
    @dev What the signer of a batch with one row of the user has signed.
    """
    domain: bytes32 = keccak256(
        abi_encode(
            DOMAIN_TYPEHASH, keccak256("0G Inference Serving"), keccak256("1"), chain.id, self.front
        )
    )
    row: bytes32 = keccak256(abi_encode(ROW_TYPEHASH, USER, fee, nonce, empty(bytes32)))
    message: bytes32 = keccak256(abi_encode(BATCH_TYPEHASH, PROVIDER, keccak256(row)))
    return keccak256(concat(x"1901", domain, message))


@internal
def _word(user: address) -> uint256:
    return cheats._load(self.front, self._place(user))


@internal
@view
def _place(user: address) -> uint256:
    return cheats._slot(WORDS, state._key(user, PROVIDER))


