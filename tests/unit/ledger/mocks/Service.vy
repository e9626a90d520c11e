# pragma version 0.4.3
# pragma evm-version cancun
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


struct Account:
    exists: bool
    balance: uint256
    pending: uint256
    due: uint256
    info: String[4096]
    cancelled: uint256


MAX_CALL: constant(uint256) = 512
MAX_CALLS: constant(uint256) = 16
MAX_ANSWER: constant(uint256) = 2048
BOMB: constant(uint256) = 102400

# @dev What happens after the calls of a script: the honest thing, an answer, a revert, 100 KB of either, or all gas gone.
HONEST: constant(uint256) = 0
ANSWER: constant(uint256) = 1
REVERT: constant(uint256) = 2
ANSWER_BOMB: constant(uint256) = 3
REVERT_BOMB: constant(uint256) = 4
ENDLESS: constant(uint256) = 5

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
    @notice Pay the provider out of the user's account, and report it.
    """
    self._accounts[user][provider].balance -= amount
    pending: uint256 = self._accounts[user][provider].pending
    self._accounts[user][provider].pending = min(pending, self._accounts[user][provider].balance)
    extcall ILedger(LEDGER).spendFund(user, amount)
    raw_call(provider, b"", value=amount)


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
def accountExists(user: address, provider: address) -> Bytes[BOMB]:
    if self._acts(method_id("accountExists(address,address)", output_type=bytes4)):
        return self._answer(method_id("accountExists(address,address)", output_type=bytes4))
    return abi_encode(self._accounts[user][provider].exists)


@external
@raw_return
def getPendingRefund(user: address, provider: address) -> Bytes[BOMB]:
    if self._acts(method_id("getPendingRefund(address,address)", output_type=bytes4)):
        return self._answer(method_id("getPendingRefund(address,address)", output_type=bytes4))
    assert self._accounts[user][provider].exists, "no account"
    return abi_encode(self._accounts[user][provider].pending)


@external
@raw_return
def lockedBalance(user: address) -> Bytes[BOMB]:
    if self._acts(method_id("lockedBalance(address)", output_type=bytes4)):
        return self._answer(method_id("lockedBalance(address)", output_type=bytes4))
    total: uint256 = 0
    for provider: address in self._providers[user]:
        total += self._accounts[user][provider].balance
    return abi_encode(total)


@external
@raw_return
def providerCount(user: address) -> Bytes[BOMB]:
    if self._acts(method_id("providerCount(address)", output_type=bytes4)):
        return self._answer(method_id("providerCount(address)", output_type=bytes4))
    return abi_encode(len(self._providers[user]))


@external
@raw_return
def providersOf(user: address) -> Bytes[BOMB]:
    if self._acts(method_id("providersOf(address)", output_type=bytes4)):
        return self._answer(method_id("providersOf(address)", output_type=bytes4))
    return abi_encode(self._providers[user])


@external
@payable
@raw_return
def addAccount(user: address, provider: address, additionalInfo: String[4096]) -> Bytes[BOMB]:
    if self._acts(method_id("addAccount(address,address,string)", output_type=bytes4)):
        return self._answer(method_id("addAccount(address,address,string)", output_type=bytes4))
    assert not self._accounts[user][provider].exists, "there is an account"
    self._accounts[user][provider] = Account(
        exists=True, balance=msg.value, pending=0, due=0, info=additionalInfo, cancelled=0
    )
    self._providers[user].append(provider)
    return b""


@external
@payable
@raw_return
def depositFund(user: address, provider: address, cancelRetrievingAmount: uint256) -> Bytes[BOMB]:
    if self._acts(method_id("depositFund(address,address,uint256)", output_type=bytes4)):
        return self._answer(method_id("depositFund(address,address,uint256)", output_type=bytes4))
    assert self._accounts[user][provider].exists, "no account"
    self._accounts[user][provider].balance += msg.value
    self._accounts[user][provider].pending -= cancelRetrievingAmount
    self._accounts[user][provider].cancelled += cancelRetrievingAmount
    return b""


@external
@raw_return
def requestRefundAll(user: address, provider: address) -> Bytes[BOMB]:
    if self._acts(method_id("requestRefundAll(address,address)", output_type=bytes4)):
        return self._answer(method_id("requestRefundAll(address,address)", output_type=bytes4))
    if self._accounts[user][provider].pending != self._accounts[user][provider].balance:
        self._accounts[user][provider].pending = self._accounts[user][provider].balance
        self._accounts[user][provider].due = block.timestamp + DAY
    return b""


@external
@raw_return
def processRefund(user: address, provider: address) -> Bytes[BOMB]:
    if self._acts(method_id("processRefund(address,address)", output_type=bytes4)):
        return self._answer(method_id("processRefund(address,address)", output_type=bytes4))
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
def deleteAccount(user: address, provider: address) -> Bytes[BOMB]:
    if self._acts(method_id("deleteAccount(address,address)", output_type=bytes4)):
        return self._answer(method_id("deleteAccount(address,address)", output_type=bytes4))
    if self._accounts[user][provider].exists:
        assert self._accounts[user][provider].balance == 0, "not empty"
        self._accounts[user][provider].exists = False
        self._forget(user, provider)
    return b""


@internal
def _forget(user: address, provider: address):
    kept: DynArray[address, 64] = []
    for one: address in self._providers[user]:
        if one != provider:
            kept.append(one)
    self._providers[user] = kept


@internal
def _acts(selector: bytes4) -> bool:
    """
    @dev Do what is scripted before the answer. Returns whether the answer is scripted too.
    """
    count: uint256 = len(self._scripts[selector].calls)
    if count != 0:
        self.outcomes = []
    for i: uint256 in range(count, bound=MAX_CALLS):
        success: bool = False
        answer: Bytes[256] = b""
        success, answer = raw_call(
            self._scripts[selector].calls[i].target,
            self._scripts[selector].calls[i].data,
            max_outsize=256,
            revert_on_failure=False,
        )
        self.outcomes.append(concat(convert(success, bytes32), answer))
    if self._scripts[selector].coins != 0:
        raw_call(LEDGER, b"", value=self._scripts[selector].coins)
    if self._scripts[selector].waste != 0:
        wasted: bool = raw_call(
            self,
            method_id("waste()"),
            gas=self._scripts[selector].waste,
            is_static_call=True,
            revert_on_failure=False,
        )
    mode: uint256 = self._scripts[selector].mode
    if mode == ENDLESS:
        assert msg.gas == 0, UNREACHABLE
    if mode == REVERT:
        raw_revert(self._scripts[selector].answer)
    if mode == REVERT_BOMB:
        raw_revert(abi_encode(empty(uint256[BOMB // 32])))
    return mode != HONEST


@internal
@view
def _answer(selector: bytes4) -> Bytes[BOMB]:
    if self._scripts[selector].mode == ANSWER_BOMB:
        return abi_encode(empty(uint256[BOMB // 32]))
    return self._scripts[selector].answer
