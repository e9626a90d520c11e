# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize none
"""
@title A service written by others, honest until it is told otherwise
@notice Keeps accounts with one refund each that waits a day. What it does in each function can be changed beforehand by
        `script`: calls to others, coins sent to the ledger, gas wasted, and then an answer or a revert of any bytes.
@dev With `native` it also keeps the account book that the ledger asks our own services for.
     How money is lost here: to whoever scripts it; it is for tests only.
     How the owner prevents it: by registering no such contract.
"""

interface ILedger:
    def spendFund(user: address, amount: uint256): nonpayable


struct Call:
    target: address
    data: Bytes[MAX_CALL]


struct Script:
    calls: DynArray[Call, MAX_CALLS]
    coins: uint256
    waste: uint256
    mode: uint256
    answer: Bytes[MAX_ANSWER]
    once: bool


struct Account:
    exists: bool
    balance: uint256
    pending: uint256
    due: uint256
    info: String[4096]
    cancelled: uint256


MAX_CALL: constant(uint256) = 512
MAX_CALLS: constant(uint256) = 16
MAX_ANSWER: constant(uint256) = 2560
BOMB: constant(uint256) = 102400

# @dev What happens after the calls of a script: the honest thing (0), an answer, a revert, one of 100 KB, or all gas gone.
ANSWER: constant(uint256) = 1
REVERT: constant(uint256) = 2
REVERT_BOMB: constant(uint256) = 3
ENDLESS: constant(uint256) = 4

ERC165_ID: constant(bytes4) = 0x01ffc9a7
SERVING_ID: constant(bytes4) = 0x160841b1
ACCOUNT_BOOK_ID: constant(bytes4) = 0x1ffc15d2
DAY: constant(uint256) = 86400

LEDGER: immutable(address)
NATIVE: immutable(bool)

# @notice What the calls of the last script that ran came to: success and the first bytes of the answer.
outcomes: public(DynArray[Bytes[MAX_ANSWER], MAX_CALLS])

_scripts: HashMap[bytes4, Script]
_accounts: HashMap[address, HashMap[address, Account]]
_providers: HashMap[address, DynArray[address, 64]]


@deploy
def __init__(ledger: address, native: bool):
    LEDGER = ledger
    NATIVE = native


@external
@payable
def __default__():
    assert len(msg.data) == 0


@external
def script(selector: bytes4, script: Script):
    """
    @notice From now on, do this in the function with that selector.
    """
    self._scripts[selector] = script


@external
def pay_ledger(amount: uint256):
    """
    @notice Send the ledger `amount` wei that it has not asked for.
    """
    raw_call(LEDGER, b"", value=amount)


@external
def forward(data: Bytes[MAX_CALL], coins: uint256):
    """
    @notice Call the ledger with this calldata, as this service.
    """
    raw_call(LEDGER, data, value=coins)


@external
def settle(user: address, provider: address, amount: uint256):
    """
    @notice Pay the provider out of the user's account, and report it unless it keeps the account book.
    """
    self._accounts[user][provider].balance -= amount
    pending: uint256 = self._accounts[user][provider].pending
    self._accounts[user][provider].pending = min(pending, self._accounts[user][provider].balance)
    if not NATIVE:
        extcall ILedger(LEDGER).spendFund(user, amount)
    raw_call(provider, b"", value=amount)


@external
def report(user: address, amount: uint256):
    """
    @notice Report to the ledger that the user's coins were spent.
    """
    extcall ILedger(LEDGER).spendFund(user, amount)


@external
def force(user: address, provider: address, exists: bool):
    """
    @notice An account that the ledger has not opened, or one that is gone without its asking.
    """
    self._accounts[user][provider].exists = exists
    if exists:
        self._providers[user].append(provider)
    else:
        self._forget(user, provider)


@external
def waste():
    """
    @notice Use up all gas that is given.
    """
    assert msg.gas == 0, UNREACHABLE


@external
def bomb():
    """
    @notice Revert with 100 KB. The buffer would make every other function dear, were it not in a call of its own.
    """
    raw_revert(abi_encode(empty(uint256[BOMB // 32])))


@external
@view
def account(user: address, provider: address) -> Account:
    return self._accounts[user][provider]


@external
@view
def supportsInterface(interfaceId: bytes4) -> bool:
    if interfaceId == ACCOUNT_BOOK_ID:
        return NATIVE
    return interfaceId == ERC165_ID or interfaceId == SERVING_ID


@external
@raw_return
def accountExists(user: address, provider: address) -> Bytes[MAX_ANSWER]:
    scripted: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    scripted, answer = self._play(method_id("accountExists(address,address)", output_type=bytes4))
    if scripted:
        return answer
    return abi_encode(self._accounts[user][provider].exists)


@external
@raw_return
def getPendingRefund(user: address, provider: address) -> Bytes[MAX_ANSWER]:
    scripted: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    scripted, answer = self._play(method_id("getPendingRefund(address,address)", output_type=bytes4))
    if scripted:
        return answer
    assert self._accounts[user][provider].exists, "no account"
    return abi_encode(self._accounts[user][provider].pending)


@external
@raw_return
def lockedBalance(user: address) -> Bytes[MAX_ANSWER]:
    scripted: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    scripted, answer = self._play(method_id("lockedBalance(address)", output_type=bytes4))
    if scripted:
        return answer
    total: uint256 = 0
    for provider: address in self._providers[user]:
        total += self._accounts[user][provider].balance
    return abi_encode(total)


@external
@raw_return
def providerCount(user: address) -> Bytes[MAX_ANSWER]:
    scripted: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    scripted, answer = self._play(method_id("providerCount(address)", output_type=bytes4))
    if scripted:
        return answer
    return abi_encode(len(self._providers[user]))


@external
@raw_return
def providersOf(user: address) -> Bytes[MAX_ANSWER]:
    scripted: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    scripted, answer = self._play(method_id("providersOf(address)", output_type=bytes4))
    if scripted:
        return answer
    return abi_encode(self._providers[user])


@external
@payable
@raw_return
def addAccount(user: address, provider: address, additionalInfo: String[4096]) -> Bytes[MAX_ANSWER]:
    scripted: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    scripted, answer = self._play(method_id("addAccount(address,address,string)", output_type=bytes4))
    if scripted:
        return answer
    assert not self._accounts[user][provider].exists, "there is an account"
    self._accounts[user][provider] = Account(
        exists=True, balance=msg.value, pending=0, due=0, info=additionalInfo, cancelled=0
    )
    self._providers[user].append(provider)
    return b""


@external
@payable
@raw_return
def depositFund(user: address, provider: address, cancelRetrievingAmount: uint256) -> Bytes[MAX_ANSWER]:
    scripted: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    scripted, answer = self._play(method_id("depositFund(address,address,uint256)", output_type=bytes4))
    if scripted:
        return answer
    assert self._accounts[user][provider].exists, "no account"
    self._accounts[user][provider].balance += msg.value
    self._accounts[user][provider].pending -= cancelRetrievingAmount
    self._accounts[user][provider].cancelled += cancelRetrievingAmount
    return b""


@external
@raw_return
def requestRefundAll(user: address, provider: address) -> Bytes[MAX_ANSWER]:
    scripted: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    scripted, answer = self._play(method_id("requestRefundAll(address,address)", output_type=bytes4))
    if scripted:
        return answer
    if self._accounts[user][provider].pending != self._accounts[user][provider].balance:
        self._accounts[user][provider].pending = self._accounts[user][provider].balance
        self._accounts[user][provider].due = block.timestamp + DAY
    return b""


@external
@raw_return
def processRefund(user: address, provider: address) -> Bytes[MAX_ANSWER]:
    scripted: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    scripted, answer = self._play(method_id("processRefund(address,address)", output_type=bytes4))
    if scripted:
        return answer
    account: Account = self._accounts[user][provider]
    assert account.exists, "no account"
    paid: uint256 = 0
    if account.pending != 0 and block.timestamp >= account.due:
        paid = account.pending
        account.pending = 0
        account.balance -= paid
        self._accounts[user][provider].pending = 0
        self._accounts[user][provider].balance = account.balance
        raw_call(LEDGER, b"", value=paid)
    return abi_encode(paid, account.balance, account.pending)


@external
@raw_return
def deleteAccount(user: address, provider: address) -> Bytes[MAX_ANSWER]:
    scripted: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    scripted, answer = self._play(method_id("deleteAccount(address,address)", output_type=bytes4))
    if scripted:
        return answer
    if self._accounts[user][provider].exists:
        assert self._accounts[user][provider].balance == 0, "not empty"
        self._accounts[user][provider].exists = False
        self._forget(user, provider)
    return b""


@internal
def _forget(user: address, provider: address):
    count: uint256 = len(self._providers[user])
    for i: uint256 in range(count, bound=64):
        if self._providers[user][count - 1 - i] == provider:
            last: address = self._providers[user].pop()
            if i != 0:
                self._providers[user][count - 1 - i] = last
            break


@internal
def _play(selector: bytes4) -> (bool, Bytes[MAX_ANSWER]):
    """
    @dev Do what is scripted. Returns whether the answer is scripted too, and the answer.
    """
    script: Script = self._scripts[selector]
    if script.once:
        self._scripts[selector] = empty(Script)
    if len(script.calls) != 0:
        self.outcomes = []
    for call: Call in script.calls:
        success: bool = False
        answer: Bytes[256] = b""
        success, answer = raw_call(
            call.target, call.data, max_outsize=256, revert_on_failure=False
        )
        self.outcomes.append(concat(convert(success, bytes32), answer))
    if script.coins != 0:
        raw_call(LEDGER, b"", value=script.coins)
    if script.waste != 0:
        wasted: bool = raw_call(
            self,
            method_id("waste()"),
            gas=script.waste,
            is_static_call=True,
            revert_on_failure=False,
        )
    if script.mode == ENDLESS:
        assert msg.gas == 0, UNREACHABLE
    if script.mode == REVERT:
        raw_revert(script.answer)
    if script.mode == REVERT_BOMB:
        raw_call(self, method_id("bomb()"), is_static_call=True)
    return script.mode == ANSWER, script.answer
