# pragma version 0.4.3
# pragma evm-version cancun
"""
@title What is proven of fine-tuning
@notice Ledger and owner of one service in one, with one confirmed provider and one delivered task. Accounts and refunds are the
        same code as in inference and proven there. Arguments of `check_` functions are any values at all.
"""

from . import cheats

CODE: constant(Bytes[32768]) = x"00{FineTuningServing}"

USER: constant(address) = 0x1000000000000000000000000000000000000001
OTHER: constant(address) = 0x1000000000000000000000000000000000000002
PROVIDER: constant(address) = 0x2000000000000000000000000000000000000001
SIGNER: constant(address) = 0x3000000000000000000000000000000000000001
STAKE: constant(uint256) = 100 * 10**18
PENALTY: constant(uint256) = 30

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
def check_an_acknowledged_task_is_paid_in_full_and_moves_what_it_takes(
    amount: uint256, fee: uint256, nonce: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice The provider is paid the signed fee, the user's balance falls by it, nobody else's changes.
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
    @notice Of a task that nobody acknowledged the provider is paid fee * 30 / 100, rounded down, out of the service.
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
    @notice After a settlement no other one of the same deliverable succeeds, with whatever fee, nonce and signature.
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
def check_a_second_penalty_needs_an_act_of_the_user(
    fee: uint256, nonce: uint256, again_fee: uint256, again: uint256, r: bytes32, s: bytes32, v: uint8
):
    """
    @notice A provider and its TEE cannot take penalty after penalty while the user stays away.
    """
    self._deliver(2**80, "a")
    self._settle("a", b"", fee, nonce, r, s, v)
    self._add("b")
    cheats._holds(not self._tries("b", b"", again_fee, again, r, s, v))


@external
def check_only_the_ledger_and_the_owner_call_what_is_theirs(
    caller: address, which: uint256, amount: uint256, to: address
):
    """
    @notice The ledger's five functions, confirming signers, lock time, penalty and ownership revert for everybody else.
    """
    extcall Serving(self.front).addAccount(OTHER, PROVIDER, "", value=5)
    assert caller != self and caller != cheats.VM
    data: Bytes[164] = b""
    if which == 0:
        data = abi_encode(USER, PROVIDER, "", method_id=method_id("addAccount(address,address,string)"))
    elif which == 1:
        data = abi_encode(OTHER, PROVIDER, amount, method_id=method_id("depositFund(address,address,uint256)"))
    elif which == 2:
        data = abi_encode(OTHER, PROVIDER, method_id=method_id("requestRefundAll(address,address)"))
    elif which == 3:
        data = abi_encode(OTHER, PROVIDER, method_id=method_id("processRefund(address,address)"))
    elif which == 4:
        data = abi_encode(OTHER, PROVIDER, method_id=method_id("deleteAccount(address,address)"))
    elif which == 5:
        data = abi_encode(PROVIDER, SIGNER, method_id=method_id("acknowledgeTEESignerByOwner(address,address)"))
    elif which == 6:
        data = abi_encode(PROVIDER, method_id=method_id("revokeTEESignerAcknowledgement(address)"))
    elif which == 7:
        data = abi_encode(amount, method_id=method_id("updateLockTime(uint256)"))
    elif which == 8:
        data = abi_encode(amount, method_id=method_id("updatePenaltyPercentage(uint256)"))
    elif which == 9:
        data = abi_encode(to, method_id=method_id("transferOwnership(address)"))
    elif which == 10:
        data = abi_encode(to, method_id=method_id("offerOwnership(address)"))
    elif which == 11:
        data = method_id("renounceOwnership()")
    else:
        data = abi_encode(amount, self, to, amount, method_id=method_id("initialize(uint256,address,address,uint256)"))
    cheats._prank(caller)
    done: bool = raw_call(self.front, data, revert_on_failure=False)
    cheats._holds(not done)


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
