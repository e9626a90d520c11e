# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title What is proven of inference
@notice Ledger and owner of one service in one: it puts up the shipped code behind a plain delegating front, and asks of
        every function what must hold for all amounts, nonces and signatures. Arguments of `check_` functions are any
        values at all.
"""

from . import cheats
from . import state

CODE: constant(Bytes[32768]) = x"00{InferenceServing}"

WORDS: constant(uint256) = {InferenceServing:accounts._words}
TOKENS: constant(uint256) = {InferenceServing:tokens._revoked}

USER: constant(address) = 0x1000000000000000000000000000000000000001
OTHER: constant(address) = 0x1000000000000000000000000000000000000002
PROVIDER: constant(address) = 0x2000000000000000000000000000000000000001
LOCK: constant(uint256) = 86400
MAX_COINS: constant(uint256) = 2**92 - 1

STAKE: constant(uint256) = 100 * 10**18
SIGNER: constant(address) = 0x3000000000000000000000000000000000000001
STRANGER: constant(address) = 0x4000000000000000000000000000000000000001
OTHER_PROVIDER: constant(address) = 0x2000000000000000000000000000000000000002
DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
HALF_ORDER: constant(uint256) = (
    57896044618658097711785492504343953926418782139537452191302581570759080747168
)
SETTLEMENT_TYPEHASH: constant(bytes32) = keccak256(
    "TEESettlement(bytes32 requestsHash,uint256 nonce,address provider,address user,uint256 totalFee)"
)


struct Params:
    serviceType: String[32]
    url: String[32]
    model: String[32]
    verifiability: String[32]
    inputPrice: uint256
    outputPrice: uint256
    additionalInfo: String[32]
    teeSignerAddress: address


struct Entry:
    user: address
    provider: address
    totalFee: uint256
    requestsHash: bytes32
    nonce: uint256
    signature: Bytes[65]


front: address


interface Serving:
    def initialize(lock: uint256, ledger: address, owner: address): nonpayable
    def addAccount(user: address, provider: address, info: String[32]): payable
    def depositFund(user: address, provider: address, cancel: uint256): payable
    def requestRefundAll(user: address, provider: address): nonpayable
    def processRefund(user: address, provider: address) -> (uint256, uint256, uint256): nonpayable
    def deleteAccount(user: address, provider: address): nonpayable
    def lockedBalance(user: address) -> uint256: view
    def getPendingRefund(user: address, provider: address) -> uint256: view
    def accountExists(user: address, provider: address) -> bool: view
    def addOrUpdateService(params: Params): payable
    def acknowledgeTEESignerByOwner(provider: address, expected: address): nonpayable
    def settleFeesWithTEE(entries: DynArray[Entry, 2]) -> DynArray[uint8, 2]: nonpayable


@deploy
@payable
def __init__():
    implementation: address = raw_create(slice(CODE, 1, len(CODE) - 1), convert(1, uint256))
    self.front = create_minimal_proxy_to(implementation)
    extcall Serving(self.front).initialize(LOCK, self, self)
    self._register(PROVIDER)


@external
@payable
def __default__():
    pass


@external
def check_a_settlement_pays_out_what_it_takes_and_never_more_than_signed(
    amount: uint256, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice The provider is paid exactly what the user's balance decreases by: the smaller of fee and balance, or
    nothing.
    """
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=amount)
    before: uint256 = PROVIDER.balance
    self._settle(USER, PROVIDER, fee, nonce, r, s, v)
    left: uint256 = staticcall Serving(self.front).lockedBalance(USER)
    cheats._holds(PROVIDER.balance - before == amount - left)
    cheats._holds(left == amount or left == amount - min(amount, fee))
    cheats._holds(self.front.balance == left + STAKE)


@external
def check_nothing_is_paid_without_the_confirmed_signers_signature(
    amount: uint256, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice If anything was paid, the signature recovers to the confirmed signer over exactly this fee, nonce, user and
            provider, in this contract and on this chain, and its s is in the lower half. That the precompile answers
            zero for a v other than 27 and 28 is assumed: halmos knows it only as some function.
    """
    assert v == 27 or v == 28
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=amount)
    self._settle(USER, PROVIDER, fee, nonce, r, s, v)
    if staticcall Serving(self.front).lockedBalance(USER) != amount:
        digest: bytes32 = self._digest(USER, PROVIDER, fee, nonce)
        recovered: address = ecrecover(
            digest, convert(v, uint256), convert(r, uint256), convert(s, uint256)
        )
        cheats._holds(recovered == SIGNER)
        cheats._holds(convert(s, uint256) <= HALF_ORDER)


@external
def check_the_same_settlement_is_never_paid_twice(
    amount: uint256, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice A settlement that is presented a second time, unchanged, pays nothing.
    """
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=amount)
    self._settle(USER, PROVIDER, fee, nonce, r, s, v)
    left: uint256 = staticcall Serving(self.front).lockedBalance(USER)
    self._settle(USER, PROVIDER, fee, nonce, r, s, v)
    assert left != amount
    cheats._holds(staticcall Serving(self.front).lockedBalance(USER) == left)


@external
def check_reopening_a_deleted_account_keeps_its_nonce(
    fee: uint256, nonce: uint256, later_fee: uint256, later: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice After a nonce was used and the account was deleted and opened again, no nonce up to that one is accepted.
    """
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=5)
    self._settle(USER, PROVIDER, fee, nonce, r, s, v)
    extcall Serving(self.front).deleteAccount(USER, PROVIDER)
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=7)
    self._settle(USER, PROVIDER, later_fee, later, r, s, v)
    if later <= nonce:
        cheats._holds(staticcall Serving(self.front).lockedBalance(USER) == 7)


@external
def check_a_settlement_touches_no_other_account(
    fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice Neither another user's account with this provider nor the user's account with another provider changes.
    """
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=10)
    extcall Serving(self.front).addAccount(OTHER, PROVIDER, "", value=20)
    extcall Serving(self.front).addAccount(USER, OTHER_PROVIDER, "", value=40)
    self._settle(USER, PROVIDER, fee, nonce, r, s, v)
    cheats._holds(staticcall Serving(self.front).lockedBalance(OTHER) == 20)
    cheats._holds(staticcall Serving(self.front).lockedBalance(USER) >= 40)


@external
def check_a_revocation_changes_no_other_tokens_and_no_coins(
    caller: address, which: uint256, id: uint8, tokens: uint256, more: uint256, word: uint256
):
    """
    @notice If any other user with the same provider revokes one, some or all session tokens, this user's tokens and
    account, whatever they are, do not change.
    """
    assert caller != USER and caller != cheats.VM and caller != PROVIDER
    extcall Serving(self.front).addAccount(USER, PROVIDER, "")
    extcall Serving(self.front).addAccount(caller, PROVIDER, "")
    key: uint256 = state._key(USER, PROVIDER)
    cheats._store(self.front, cheats._slot(WORDS, key), word)
    cheats._store(self.front, cheats._slot(TOKENS, key), tokens)
    cheats._store(self.front, cheats._slot(TOKENS, key) + 1, more)
    data: Bytes[132] = b""
    ids: DynArray[uint8, 1] = [id]
    if which == 0:
        data = abi_encode(PROVIDER, id, method_id=method_id("revokeToken(address,uint8)"))
    elif which == 1:
        data = abi_encode(PROVIDER, ids, method_id=method_id("revokeTokens(address,uint8[])"))
    else:
        data = abi_encode(PROVIDER, method_id=method_id("revokeAllTokens(address)"))
    cheats._prank(caller)
    raw_call(self.front, data)
    cheats._holds(cheats._load(self.front, cheats._slot(WORDS, key)) == word)
    cheats._holds(cheats._load(self.front, cheats._slot(TOKENS, key)) == tokens)
    cheats._holds(cheats._load(self.front, cheats._slot(TOKENS, key) + 1) == more)


@external
def check_planted_a_balance_that_no_deposit_can_make(amount: uint256):
    """
    @notice False on purpose: a proof tool that cannot refute this would prove anything.
    """
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=amount)
    cheats._holds(staticcall Serving(self.front).lockedBalance(USER) != 12345678901234567890)


@external
def check_planted_a_settlement_pays_even_without_a_signature(
    amount: uint256, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice False on purpose: if this could not be refuted, the proofs about settlements would prove nothing.
    """
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=amount)
    self._settle(USER, PROVIDER, fee, nonce, r, s, v)
    cheats._holds(staticcall Serving(self.front).lockedBalance(USER) == amount)


@internal
def _register(provider: address):
    cheats._deal(provider, STAKE)
    cheats._prank(provider)
    extcall Serving(self.front).addOrUpdateService(
        Params(
            serviceType="",
            url="",
            model="",
            verifiability="",
            inputPrice=0,
            outputPrice=0,
            additionalInfo="",
            teeSignerAddress=SIGNER,
        ),
        value=STAKE,
    )
    extcall Serving(self.front).acknowledgeTEESignerByOwner(provider, SIGNER)


@internal
def _settle(
    user: address, provider: address, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    signature: Bytes[65] = concat(r, s, convert(v, bytes1))
    entry: Entry = Entry(
        user=user,
        provider=provider,
        totalFee=fee,
        requestsHash=empty(bytes32),
        nonce=nonce,
        signature=signature,
    )
    cheats._prank(provider)
    extcall Serving(self.front).settleFeesWithTEE([entry])


@internal
@view
def _digest(user: address, provider: address, fee: uint256, nonce: uint256) -> bytes32:
    domain: bytes32 = keccak256(
        abi_encode(
            DOMAIN_TYPEHASH, keccak256("0G Inference Serving"), keccak256("1"), chain.id, self.front
        )
    )
    message: bytes32 = keccak256(
        abi_encode(SETTLEMENT_TYPEHASH, empty(bytes32), nonce, provider, user, fee)
    )
    return keccak256(concat(x"1901", domain, message))
