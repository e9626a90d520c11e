# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title What is proven of fine-tuning
@notice Ledger and owner of one service in one, with one confirmed provider and one delivered task. What
        the ledger and the owner do is in AccountProofs. Arguments of `check_` functions are any values at all.
"""

from . import cheats
from . import state

CODE: constant(Bytes[32768]) = x"00{FineTuningServing}"

USER: constant(address) = 0x1000000000000000000000000000000000000001
OTHER: constant(address) = 0x1000000000000000000000000000000000000002
PROVIDER: constant(address) = 0x2000000000000000000000000000000000000001
OTHER_PROVIDER: constant(address) = 0x2000000000000000000000000000000000000002
SIGNER: constant(address) = 0x3000000000000000000000000000000000000001
STAKE: constant(uint256) = 100 * 10**18
PENALTY: constant(uint256) = 30

WORDS: constant(uint256) = {FineTuningServing:accounts._words}
REFUNDS: constant(uint256) = {FineTuningServing:accounts._refunds}
PROVIDERS: constant(uint256) = {FineTuningServing:services._words}

COINS: constant(uint256) = 2**92 - 1
FLAG: constant(uint256) = 2**184
EXISTS: constant(uint256) = 2**186
ONE_REFUND: constant(uint256) = 2**187
NONCE: constant(uint256) = (2**64 - 1) << 191
ACKNOWLEDGED: constant(uint256) = 2**255
HELD: constant(uint256) = 2**94

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
MESSAGE_TYPEHASH: constant(bytes32) = keccak256(
    "VerifierMessage(string id,bytes encryptedSecret,bytes modelRootHash,uint256 nonce,uint256 taskFee,address user)"
)
HALF_ORDER: constant(uint256) = (
    57896044618658097711785492504343953926418782139537452191302581570759080747168
)

front: address


struct Quota:
    cpuCount: uint256
    nodeMemory: uint256
    gpuCount: uint256
    nodeStorage: uint256
    gpuType: String[1]


struct Task:
    id: String[1]
    encryptedSecret: Bytes[1]
    modelRootHash: Bytes[1]
    nonce: uint256
    signature: Bytes[65]
    taskFee: uint256
    user: address


interface Serving:
    def initialize(lock: uint256, ledger: address, owner: address, penalty: uint256): nonpayable
    def addOrUpdateService(
        url: String[1],
        quota: Quota,
        price: uint256,
        occupied: bool,
        models: DynArray[String[1], 1],
        signer: address,
    ): payable
    def acknowledgeTEESignerByOwner(provider: address, expected: address): nonpayable
    def addAccount(user: address, provider: address, info: String[32]): payable
    def depositFund(user: address, provider: address, cancel: uint256): payable
    def deleteAccount(user: address, provider: address): nonpayable
    def lockedBalance(user: address) -> uint256: view
    def addDeliverable(user: address, id: String[1], root: Bytes[1]): nonpayable
    def acknowledgeDeliverable(provider: address, id: String[1]): nonpayable
    def settleFees(task: Task): nonpayable


@deploy
@payable
def __init__():
    implementation: address = raw_create(slice(CODE, 1, len(CODE) - 1))
    self.front = create_minimal_proxy_to(implementation)


@external
def setUp():
    extcall Serving(self.front).initialize(86400, self, self, PENALTY)
    cheats._deal(PROVIDER, STAKE)
    cheats._prank(PROVIDER)
    extcall Serving(self.front).addOrUpdateService(
        "",
        Quota(cpuCount=0, nodeMemory=0, gpuCount=0, nodeStorage=0, gpuType=""),
        0,
        False,
        [],
        SIGNER,
        value=STAKE,
    )
    extcall Serving(self.front).acknowledgeTEESignerByOwner(PROVIDER, SIGNER)


@external
def check_an_acknowledged_task_is_paid_in_full_from_the_account(
    amount: uint256, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice The provider is paid the signed fee, the user's balance decreases by it, and no other balance changes.
    """
    self._deliver(amount, "a")
    extcall Serving(self.front).addAccount(OTHER, PROVIDER, "", value=20)
    self._accept("a")
    before: uint256 = PROVIDER.balance
    self._settle("a", b"s", fee, nonce, r, s, v)
    cheats._holds(fee <= amount)
    cheats._holds(PROVIDER.balance == before + fee)
    cheats._holds(staticcall Serving(self.front).lockedBalance(USER) == amount - fee)
    cheats._holds(staticcall Serving(self.front).lockedBalance(OTHER) == 20)
    cheats._holds(self.front.balance == STAKE + amount + 20 - fee)


@external
def check_a_penalty_is_the_fee_times_the_percentage_over_100_rounded_down(
    amount: uint256, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice For a task that was not acknowledged, the service pays the provider fee * 30 / 100, rounded down.
    """
    self._deliver(amount, "a")
    before: uint256 = PROVIDER.balance
    held: uint256 = self.front.balance
    self._settle("a", b"", fee, nonce, r, s, v)
    paid: uint256 = unsafe_div(unsafe_mul(fee, PENALTY), 100)
    cheats._holds(fee <= amount)
    cheats._holds(PROVIDER.balance == before + paid)
    cheats._holds(self.front.balance == held - paid)


@external
def check_a_task_is_never_paid_twice(
    fee: uint256, nonce: uint256, again_fee: uint256, again: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice After a settlement no other settlement of the same deliverable succeeds, with any fee, nonce and signature.
    """
    self._deliver(2**80, "a")
    self._accept("a")
    self._settle("a", b"s", fee, nonce, r, s, v)
    cheats._holds(not self._tries("a", b"s", again_fee, again, r, s, v))


@external
def check_no_nonce_is_used_twice_for_two_tasks(
    fee: uint256, nonce: uint256, again_fee: uint256, again: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice A later task's settlement needs a larger nonce than an earlier one's.
    """
    self._deliver(2**80, "a")
    self._accept("a")
    self._settle("a", b"s", fee, nonce, r, s, v)
    self._add("b")
    self._accept("b")
    if self._tries("b", b"s", again_fee, again, r, s, v):
        cheats._holds(again > nonce)


@external
def check_a_second_penalty_needs_an_action_of_the_user(
    fee: uint256, nonce: uint256, again_fee: uint256, again: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice A provider and its TEE cannot take a second penalty before the user acts.
    """
    self._deliver(2**80, "a")
    self._settle("a", b"", fee, nonce, r, s, v)
    self._add("b")
    cheats._holds(not self._tries("b", b"", again_fee, again, r, s, v))


@external
def check_a_settlement_in_any_state_pays_out_what_it_takes(
    word: uint256, first: uint256, fee: uint256, nonce: uint256, accepted: bool, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice In any state of the account with one refund, of any size: the provider is paid the signed fee of an
    acknowledged task and the penalty of any other, the balance decreases by exactly that, the nonce becomes the signed,
    larger one, the penalty flag was not set and is set now, the refund is reduced if necessary, and nothing else
    changes.
    """
    self._deliver(0, "a")
    if accepted:
        self._accept("a")
    pending: uint256 = first & COINS
    assert pending <= word & COINS and fee < 2**92
    before: uint256 = (word & (COINS | FLAG | NONCE | ACKNOWLEDGED)) | EXISTS | ONE_REFUND | (pending << 92)
    cheats._store(self.front, self._place(USER), before)
    cheats._store(self.front, self._refunds(), first)
    cheats._deal(self.front, HELD)
    had: uint256 = PROVIDER.balance
    secret: Bytes[1] = b""
    paid: uint256 = unsafe_div(unsafe_mul(fee, PENALTY), 100)
    flag: uint256 = FLAG
    if accepted:
        secret = b"s"
        paid = fee
        flag = before & FLAG
    self._settle("a", secret, fee, nonce, r, s, v)
    after: uint256 = self._word(USER)
    balance: uint256 = (before & COINS) - paid
    cheats._holds(fee <= before & COINS and (accepted or before & FLAG == 0))
    cheats._holds(before >> 255 == 1 and nonce > (before >> 191) & (2**64 - 1) and nonce < 2**64)
    cheats._holds(PROVIDER.balance == had + paid and self.front.balance == HELD - paid)
    cheats._holds(after & COINS == balance and (after >> 92) & COINS == min(pending, balance))
    rest: uint256 = ~(2**184 - 1) & ~(7 << 187)
    cheats._holds(after & rest == ((before & rest & ~NONCE) | flag) | (nonce << 191))


@external
def check_nothing_is_paid_without_the_confirmed_signers_signature(
    service: uint256, fee: uint256, nonce: uint256, accepted: bool, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice Whatever the provider's word is: a settlement that succeeds, for a penalty too, is signed by the signer that
            the owner confirmed, over exactly this id, secret, model, nonce, fee and user, in this contract and on this
            chain, with s in the lower half. What the precompile answers for a v other than 27 and 28 is assumed.
    """
    assert v == 27 or v == 28
    self._deliver(2**80, "a")
    secret: Bytes[1] = b""
    if accepted:
        self._accept("a")
        secret = b"s"
    cheats._store(self.front, cheats._slot(PROVIDERS, convert(PROVIDER, uint256)), service)
    self._settle("a", secret, fee, nonce, r, s, v)
    recovered: address = ecrecover(
        self._digest("a", secret, fee, nonce), convert(v, uint256), convert(r, uint256), convert(s, uint256)
    )
    cheats._holds(convert(recovered, uint256) == service & (2**160 - 1) and recovered != empty(address))
    cheats._holds(service >> 255 == 1)
    cheats._holds(convert(s, uint256) <= HALF_ORDER)


@external
def check_a_settlement_touches_no_other_users_account(
    word: uint256, fee: uint256, nonce: uint256, accepted: bool, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice A settlement, in full or for a penalty, does not change the word of any account of another user, whatever it
    is.
    """
    extcall Serving(self.front).addAccount(OTHER, PROVIDER, "")
    cheats._store(self.front, self._place(OTHER), word)
    self._deliver(2**80, "a")
    secret: Bytes[1] = b""
    if accepted:
        self._accept("a")
        secret = b"s"
    self._settle("a", secret, fee, nonce, r, s, v)
    cheats._holds(self._word(OTHER) == word)


@external
def check_an_abandoned_task_is_never_paid(fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8, secret: bool):
    """
    @notice A task that the provider abandoned is settled neither in full nor for a penalty.
    """
    self._deliver(2**80, "a")
    cheats._prank(PROVIDER)
    raw_call(self.front, abi_encode(USER, "a", method_id=method_id("abandonDeliverable(address,string)")))
    told: Bytes[1] = b""
    if secret:
        told = b"s"
    cheats._holds(not self._tries("a", told, fee, nonce, r, s, v))


@external
def check_nobody_else_acknowledges_or_abandons_a_task(caller: address, which: uint256):
    """
    @notice Only the user can acknowledge a task or the signer for this user, and no other provider can abandon the
    task.
    """
    assert caller != USER and caller != cheats.VM
    self._deliver(5, "a")
    before: uint256 = self._word(USER)
    data: Bytes[260] = b""
    if which == 0:
        data = abi_encode(PROVIDER, "a", method_id=method_id("acknowledgeDeliverable(address,string)"))
    elif which == 1:
        assert caller == OTHER_PROVIDER
        data = abi_encode(USER, "a", method_id=method_id("abandonDeliverable(address,string)"))
    else:
        data = abi_encode(PROVIDER, True, method_id=method_id("acknowledgeTEESigner(address,bool)"))
    cheats._prank(caller)
    cheats._holds(not raw_call(self.front, data, revert_on_failure=False))
    cheats._holds(self._word(USER) == before)


@external
def check_an_unacknowledged_task_is_never_paid_in_full(
    fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice A settlement with a secret, which pays in full, fails for every task that the user has not acknowledged.
    """
    self._deliver(2**80, "a")
    cheats._holds(not self._tries("a", b"s", fee, nonce, r, s, v))


@external
def check_only_the_owner_sets_the_penalty(caller: address, percentage: uint256):
    """
    @notice updatePenaltyPercentage reverts for every caller but the owner, and for more than 100 percent.
    """
    assert caller != cheats.VM
    cheats._prank(caller)
    done: bool = raw_call(
        self.front,
        abi_encode(percentage, method_id=method_id("updatePenaltyPercentage(uint256)")),
        revert_on_failure=False,
    )
    cheats._holds(done == (caller == self and percentage <= 100))


@external
def check_planted_a_task_may_cost_nothing_at_all(
    amount: uint256, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice False on purpose: what the user acknowledged is paid for.
    """
    self._deliver(amount, "a")
    self._accept("a")
    self._settle("a", b"s", fee, nonce, r, s, v)
    cheats._holds(staticcall Serving(self.front).lockedBalance(USER) == amount)


@internal
def _deliver(amount: uint256, id: String[1]):
    extcall Serving(self.front).addAccount(USER, PROVIDER, "", value=amount)
    self._add(id)


@internal
def _add(id: String[1]):
    cheats._prank(PROVIDER)
    extcall Serving(self.front).addDeliverable(USER, id, b"r")


@internal
def _accept(id: String[1]):
    cheats._prank(USER)
    extcall Serving(self.front).acknowledgeDeliverable(PROVIDER, id)


@internal
def _settle(
    id: String[1], secret: Bytes[1], fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    cheats._prank(PROVIDER)
    extcall Serving(self.front).settleFees(self._task(id, secret, fee, nonce, r, s, v))


@internal
def _tries(
    id: String[1], secret: Bytes[1], fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
) -> bool:
    task: Task = self._task(id, secret, fee, nonce, r, s, v)
    cheats._prank(PROVIDER)
    return raw_call(
        self.front,
        abi_encode(
            task, method_id=method_id("settleFees((string,bytes,bytes,uint256,bytes,uint256,address))")
        ),
        revert_on_failure=False,
    )


@internal
@pure
def _task(
    id: String[1], secret: Bytes[1], fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
) -> Task:
    return Task(
        id=id,
        encryptedSecret=secret,
        modelRootHash=b"r",
        nonce=nonce,
        signature=concat(r, s, convert(v, bytes1)),
        taskFee=fee,
        user=USER,
    )


@internal
@view
def _digest(id: String[1], secret: Bytes[1], fee: uint256, nonce: uint256) -> bytes32:
    """
    @dev What the signer of a settlement of the user's has signed.
    """
    domain: bytes32 = keccak256(
        abi_encode(
            DOMAIN_TYPEHASH, keccak256("0G Fine-Tuning Serving"), keccak256("1"), chain.id, self.front
        )
    )
    message: bytes32 = keccak256(
        abi_encode(
            MESSAGE_TYPEHASH, keccak256(id), keccak256(secret), keccak256(b"r"), nonce, fee, USER
        )
    )
    return keccak256(concat(x"1901", domain, message))


@internal
def _word(user: address) -> uint256:
    return cheats._load(self.front, self._place(user))


@internal
@view
def _place(user: address) -> uint256:
    return cheats._slot(WORDS, state._key(user, PROVIDER))


@internal
@view
def _refunds() -> uint256:
    return cheats._slot(REFUNDS, state._key(USER, PROVIDER))
