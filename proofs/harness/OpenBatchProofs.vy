# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title What is to be proven of settlements in any state
@notice Written and not decided: run only when named. Settlements of one user whose account is in any state, with
        refunds that give way. Arguments of `check_` functions are any values at all.
"""

from . import cheats
from . import state
from . import world

CODE: constant(Bytes[32768]) = x"00{InferenceServing}"
WORDS: constant(uint256) = {InferenceServing:accounts._words}
REFUNDS: constant(uint256) = {InferenceServing:accounts._refunds}

USER: constant(address) = 0x1000000000000000000000000000000000000001
PROVIDER: constant(address) = 0x2000000000000000000000000000000000000001




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
def check_an_entry_in_any_state_pays_out_what_it_takes(
    word: uint256, first: uint256, second: uint256, third: uint256, count: uint256, fee: uint256, nonce: uint256,
    r: bytes32, s: bytes32, v: uint8
):
    """
    @notice settleFeesWithTEE, in any state with up to two refunds: either the provider is paid the smaller of fee and
            balance, the balance falls by just that, the nonce is the larger one signed, refunds give way and add up
            again; or nothing changes. The status says which.
    """
    are: state.Refunds = state.Refunds(first=first, second=second, third=third)
    for active: uint256 in range(3):
        if count == active:
            before: uint256 = self._begin(word, are, active)
            had: uint256 = PROVIDER.balance
            status: uint256 = self._settle(USER, fee, nonce, r, s, v)
            if status <= 1:
                cheats._holds(self._wrong(before, had, fee, nonce, status) == 0)
            else:
                cheats._holds(self._moved(before, had) == 0)


@external
def check_a_row_in_any_state_pays_out_what_it_takes(
    word: uint256, first: uint256, second: uint256, third: uint256, count: uint256, fee: uint256, nonce: uint256,
    r: bytes32, s: bytes32, v: uint8
):
    """
    @notice settleBatchWithTEE, the same.
    """
    assert fee < 2**96
    are: state.Refunds = state.Refunds(first=first, second=second, third=third)
    for active: uint256 in range(3):
        if count == active:
            before: uint256 = self._begin(word, are, active)
            had: uint256 = PROVIDER.balance
            status: uint256 = self._batch([self._row(USER, fee, nonce)], r, s, v)
            if status <= 1:
                cheats._holds(self._wrong(before, had, fee, nonce, status) == 0)
            else:
                cheats._holds(self._moved(before, had) == 0)


@internal
def _wrong(before: uint256, had: uint256, fee: uint256, nonce: uint256, status: uint256) -> uint256:
    """
    @dev Zero when an accepted settlement has done all that it should and nothing else.
    """
    balance: uint256 = before & state.COINS
    paid: uint256 = state._least(fee, balance)
    after: uint256 = self._word(USER)
    return (
        (PROVIDER.balance ^ unsafe_add(had, paid))
        | (self.front.balance ^ unsafe_sub(state.HELD, paid))
        | ((after & state.COINS) ^ unsafe_sub(balance, paid))
        | (state._rest(after) ^ ((state._rest(before) & ~state.NONCE) | (nonce << 191)))
        | convert(nonce <= (before >> 191) & (2**64 - 1) or nonce >= 2**64, uint256)
        | convert(before >> 255 == 0, uint256)
        | (status ^ convert(fee > balance, uint256))
        | state._unsound(after, self._refunds())
    )


@internal
def _moved(before: uint256, had: uint256) -> uint256:
    """
    @dev Zero when nothing has changed.
    """
    return (PROVIDER.balance ^ had) | (self.front.balance ^ state.HELD) | (self._word(USER) ^ before)


@internal
def _begin(any: uint256, are: state.Refunds, active: uint256) -> uint256:
    return state._begin(self.front, self._place(USER), self._at_refunds(), USER, PROVIDER, any, are, active)


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
def _word(user: address) -> uint256:
    return cheats._load(self.front, self._place(user))


@internal
def _refunds() -> state.Refunds:
    return state._refunds(self.front, self._at_refunds())


@internal
@view
def _place(user: address) -> uint256:
    return cheats._slot(WORDS, state._key(user, PROVIDER))


@internal
@view
def _at_refunds() -> uint256:
    return cheats._slot(REFUNDS, state._key(USER, PROVIDER))
