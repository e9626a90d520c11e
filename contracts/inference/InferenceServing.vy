# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title Inference serving
@notice Providers register with a stake and are paid out of the users' accounts for exactly what their TEE signed.
        One call settles many users: `settleFeesWithTEE` with a signature for each, `settleBatchWithTEE` with one
        signature for all.
@dev State changes come before payouts, and a payout cannot start another one. Nothing here depends on
     `self.balance`: coins forced in belong to nobody.
     How a user could lose money: by acknowledging (every transfer of funds does) a provider whose signer the owner
     confirmed although it is no TEE; at stake is what the account with that provider holds.
     How the owner stops it: `revokeTEESignerAcknowledgement` ends that provider's settlements at once.
"""

from ..serving import accounts
from ..serving import blobs
from ..serving import errors
from ..serving import initializable
from ..serving import lists
from ..serving import ownable
from ..serving import payouts
from ..serving import services
from ..serving import tee
from . import tokens

initializes: ownable
initializes: initializable
initializes: blobs
initializes: lists
initializes: accounts[blobs := blobs, lists := lists]
initializes: services[lists := lists, ownable := ownable]
initializes: payouts
initializes: tokens

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
    services.MIN_PROVIDER_STAKE,
    services.acknowledgeTEESignerByOwner,
    services.revokeTEESignerAcknowledgement,
)


event ContractInitialized:
    owner: indexed(address)
    lockTime: uint256
    ledgerAddress: address


event ServiceUpdated:
    service: indexed(address)
    serviceType: String[MAX_SHORT_DECODED]
    url: String[MAX_URL_DECODED]
    inputPrice: uint256
    outputPrice: uint256
    updatedAt: uint256
    model: String[MAX_SHORT_DECODED]
    verifiability: String[MAX_SHORT_DECODED]


event ServiceRemoved:
    service: indexed(address)


event TEESettlementResult:
    user: indexed(address)
    status: uint8
    unsettledAmount: uint256


event BatchRowSettled:
    user: indexed(address)
    status: uint8
    paid: uint256
    balance: uint256


event BatchSettled:
    provider: indexed(address)
    rows: uint256
    paid: uint256


struct Account:
    user: address
    provider: address
    nonce: uint256
    balance: uint256
    pendingRefund: uint256
    refunds: DynArray[accounts.Refund, accounts.MAX_REFUNDS]
    additionalInfo: String[accounts.MAX_INFO]
    acknowledged: bool
    validRefundsLength: uint256
    generation: uint256
    revokedBitmap: uint256


struct Service:
    provider: address
    serviceType: String[MAX_SHORT]
    url: String[MAX_URL]
    inputPrice: uint256
    outputPrice: uint256
    updatedAt: uint256
    model: String[MAX_SHORT]
    verifiability: String[MAX_SHORT]
    additionalInfo: String[accounts.MAX_INFO]
    teeSignerAddress: address
    teeSignerAcknowledged: bool


struct ServiceParams:
    serviceType: String[MAX_SHORT_DECODED]
    url: String[MAX_URL_DECODED]
    model: String[MAX_SHORT_DECODED]
    verifiability: String[MAX_SHORT_DECODED]
    inputPrice: uint256
    outputPrice: uint256
    additionalInfo: String[accounts.MAX_INFO_DECODED]
    teeSignerAddress: address


struct TEESettlementData:
    user: address
    provider: address
    totalFee: uint256
    requestsHash: bytes32
    nonce: uint256
    signature: Bytes[tee.MAX_SIGNATURE]


struct UserSettlement:
    userAndFee: uint256
    nonce: uint256
    requestsHash: bytes32


# @notice The shortest lock time in seconds.
MIN_LOCKTIME: public(constant(uint256)) = 3600

# @notice The longest lock time in seconds.
MAX_LOCKTIME: public(constant(uint256)) = 7 * 86400

# @dev Documented limits, and the room above them in which the named error is reached.
MAX_SETTLEMENTS: constant(uint256) = 50
MAX_SETTLEMENTS_DECODED: constant(uint256) = 64
MAX_ROWS: constant(uint256) = 200
MAX_ROWS_DECODED: constant(uint256) = 208
STATUS_WORDS: constant(uint256) = 4
FEE_MASK: constant(uint256) = 2**96 - 1
MAX_BATCH: constant(uint256) = 500
MAX_BATCH_DECODED: constant(uint256) = 600
MAX_SHORT: constant(uint256) = 256
MAX_SHORT_DECODED: constant(uint256) = 320
MAX_URL: constant(uint256) = 2048
MAX_URL_DECODED: constant(uint256) = 2560

# @dev Settlement statuses of the wire format.
SUCCESS: constant(uint8) = 0
PARTIAL: constant(uint8) = 1
PROVIDER_MISMATCH: constant(uint8) = 2
NO_TEE_SIGNER: constant(uint8) = 3
INVALID_NONCE: constant(uint8) = 4
INVALID_SIGNATURE: constant(uint8) = 5

# @dev The bit above the nonce is the user's acknowledgement. Turned over, it makes the last nonce of an account without
#      one larger than every nonce that fits.
UNACKNOWLEDGED: constant(uint256) = 2**64

NAME_HASH: constant(bytes32) = keccak256("0G Inference Serving")
SETTLEMENT_TYPEHASH: constant(bytes32) = keccak256(
    "TEESettlement(bytes32 requestsHash,uint256 nonce,address provider,address user,uint256 totalFee)"
)
BATCH_TYPEHASH: constant(bytes32) = keccak256(
    "TEESettlementBatch(address provider,UserSettlement[] settlements)UserSettlement(address user,uint256 totalFee,uint256 nonce,bytes32 requestsHash)"
)
ROW_TYPEHASH: constant(bytes32) = keccak256(
    "UserSettlement(address user,uint256 totalFee,uint256 nonce,bytes32 requestsHash)"
)

# @dev ERC-165, the serving interface of the live network, and what our ledger asks of our services
#      (lockedBalance, providerCount, providersOf).
ERC165_ID: constant(bytes4) = 0x01ffc9a7
SERVING_ID: constant(bytes4) = 0x160841b1
ACCOUNT_BOOK_ID: constant(bytes4) = 0x1ffc15d2

# @dev A service's strings in one blob: five lengths of two bytes, then type, model, verifiability, additionalInfo, url.
HEADER: constant(uint256) = 10
MAX_TEXT: constant(uint256) = (
    HEADER + 3 * MAX_SHORT_DECODED + accounts.MAX_INFO_DECODED + MAX_URL_DECODED
)

# @dev An encoded account: 13 words, 5 refunds of 4 words and the text with its offset; and what encloses a page.
ACCOUNT_BYTES: constant(uint256) = 32 * (13 + 1 + 4 * accounts.MAX_REFUNDS) + accounts.MAX_INFO
PAGE_BYTES: constant(uint256) = 96 + accounts.MAX_PAGE * ACCOUNT_BYTES

# @dev The same for registrations: 12 words and five texts, each rounded up and with its length.
SERVICE_BYTES: constant(uint256) = 32 * (12 + 5) + 3 * MAX_SHORT + MAX_URL + accounts.MAX_INFO
SERVICES_BYTES: constant(uint256) = 96 + accounts.MAX_PAGE * SERVICE_BYTES

PRICE_MASK: constant(uint256) = 2**104 - 1
OUTPUT_OFFSET: constant(uint256) = 104
UPDATED_OFFSET: constant(uint256) = 208

#     255        208 207           104 103          0
#     [ updatedAt:48 | outputPrice:104 | inputPrice:104 ]      prices in wei per token, time in unix seconds
# @custom:packed _prices inputPrice:104, outputPrice:104, updatedAt:48
_prices: HashMap[address, uint256]


@deploy
def __init__(minProviderStake: uint256):
    """
    @param minProviderStake The least stake of a provider, in wei; not zero. Every front of this implementation has it.
    """
    initializable.__init__()
    blobs.__init__()
    services.__init__(minProviderStake)


@external
@payable
def __default__():
    """
    @notice Coins come in through the ledger or as a stake. A plain transfer reverts `DirectDepositsDisabled`;
            calldata that fits no function reverts with empty data.
    """
    if len(msg.data) != 0:
        raw_revert(b"")
    errors._direct_deposits_disabled()


@external
def initialize(_locktime: uint256, _ledgerAddress: address, owner: address):
    """
    @notice Set a front up, once. Warning: whoever calls it first decides; our deployment calls it in the creation.
    @param _locktime Seconds between asking money back and getting it, 1 hour to 7 days.
    @param _ledgerAddress The ledger, which alone may open, fund and refund accounts. It has to be ours: other ledgers
           count settlements through `spendFund`, which is never called here.
    @param owner Confirms TEE signers and sets the lock time.
    @dev Reverts `AlreadyInitialized`, `LockTimeOutOfRange`; emits `OwnershipTransferred`, `ContractInitialized`,
         `Initialized`.
    """
    initializable._begin()
    self._check_lock_time(_locktime)
    accounts.lockTime = _locktime
    accounts.ledgerAddress = _ledgerAddress
    ownable._transfer_ownership(owner)
    log ContractInitialized(owner=owner, lockTime=_locktime, ledgerAddress=_ledgerAddress)
    initializable._finish()


@external
def updateLockTime(_locktime: uint256):
    """
    @notice Change the lock time, also of refunds that are waiting. Only the owner.
    @param _locktime Seconds, 1 hour to 7 days.
    @dev Reverts `LockTimeOutOfRange`; emits `LockTimeUpdated`.
    """
    ownable._check_owner()
    self._check_lock_time(_locktime)
    log accounts.LockTimeUpdated(oldLockTime=accounts.lockTime, newLockTime=_locktime)
    accounts.lockTime = _locktime


@external
@view
def supportsInterface(interfaceId: bytes4) -> bool:
    """
    @notice ERC-165: itself, the serving interface 0x160841b1, and our ledger's questions 0x1ffc15d2.
    """
    return interfaceId == ERC165_ID or interfaceId == SERVING_ID or interfaceId == ACCOUNT_BOOK_ID


# Accounts: the ledger's calls


@external
@payable
def addAccount(user: address, provider: address, additionalInfo: String[accounts.MAX_INFO_DECODED]):
    """
    @notice Open an account with the coins sent, acknowledged. Only the ledger.
    @dev Reverts `CallerNotLedger`, `InvalidAddress`, `ProviderCannotBeUser`, `AdditionalInfoTooLong`,
         `AccountExists`, `AmountTooLarge`; emits `BalanceUpdated`.
    """
    self._check_ledger()
    self._check_parties(user, provider)
    if len(additionalInfo) > accounts.MAX_INFO:
        errors._additional_info_too_long()
    accounts._open(user, provider, msg.value, additionalInfo)


@external
@payable
def depositFund(user: address, provider: address, cancelRetrievingAmount: uint256):
    """
    @notice Add the coins sent, keep up to `cancelRetrievingAmount` wei that were asked back (newest first), and
            acknowledge the provider's TEE signer. Only the ledger.
    @dev Reverts `CallerNotLedger`, `InvalidAddress`, `ProviderCannotBeUser`, `AccountNotExists`, `AmountTooLarge`;
         emits `BalanceUpdated`.
    """
    self._check_ledger()
    self._check_parties(user, provider)
    accounts._deposit(user, provider, msg.value, cancelRetrievingAmount)


@external
def requestRefundAll(user: address, provider: address):
    """
    @notice Ask back what is not asked back yet. With five refunds waiting the amount joins the newest, whose clock
            restarts. Only the ledger.
    @dev Reverts `CallerNotLedger`, `AccountNotExists`; emits `RefundRequested` when any refund is active.
    """
    self._check_ledger()
    accounts._request_refund(user, provider)


@external
def processRefund(user: address, provider: address) -> (uint256, uint256, uint256):
    """
    @notice Send the ledger every refund whose lock time is over. Only the ledger.
    @return totalAmount, balance and pendingRefund: wei sent, wei left, wei still waiting
    @dev Reverts `CallerNotLedger`, `AccountNotExists`, `TransferFailed`, `PayoutInProgress`; emits `BalanceUpdated`
         when something is paid. Re-entrancy: pays last, under the payout lock.
    """
    self._check_ledger()
    paid: uint256 = 0
    balance: uint256 = 0
    pending: uint256 = 0
    paid, balance, pending = accounts._mature(user, provider)
    if paid != 0:
        self._pay(msg.sender, paid)
    return paid, balance, pending


@external
def deleteAccount(user: address, provider: address):
    """
    @notice Forget an account that holds no coins; nonce, generation and revoked tokens stay. Only the ledger.
            Without an account nothing happens.
    @dev Reverts `CallerNotLedger`, `AccountNotEmpty`; emits `AccountDeleted`.
    """
    self._check_ledger()
    accounts._delete(user, provider)


# Accounts: the user's calls


@external
def acknowledgeTEESigner(provider: address, acknowledged: bool):
    """
    @notice Accept the provider's TEE signer or take that back, which needs an empty account. By the user.
    @dev Reverts `AccountNotExists`, `CannotRevokeWithNonZeroBalance`.
    """
    accounts._acknowledge(msg.sender, provider, acknowledged)


@external
def revokeToken(provider: address, tokenId: uint8):
    """
    @notice Revoke one session token of the current generation, for ever. By the user.
    @dev Reverts `AccountNotExists`; emits `TokenRevoked`.
    """
    accounts._existing(msg.sender, provider)
    tokens._revoke(accounts._key(msg.sender, provider), tokenId)
    log tokens.TokenRevoked(user=msg.sender, provider=provider, tokenId=tokenId)


@external
def revokeTokens(provider: address, tokenIds: DynArray[uint8, tokens.MAX_IDS]):
    """
    @notice Revoke several session tokens, at most 512. By the user.
    @dev Reverts `AccountNotExists`; emits `TokensRevoked`.
    """
    accounts._existing(msg.sender, provider)
    key: uint256 = accounts._key(msg.sender, provider)
    for id: uint8 in tokenIds:
        tokens._revoke(key, id)
    log tokens.TokensRevoked(user=msg.sender, provider=provider, tokenIds=tokenIds)


@external
def revokeAllTokens(provider: address):
    """
    @notice Revoke every session token made so far, by a new generation. By the user.
    @dev Reverts `AccountNotExists`; emits `AllTokensRevoked`.
    """
    accounts._existing(msg.sender, provider)
    generation: uint256 = tokens._revoke_all(accounts._key(msg.sender, provider))
    log tokens.AllTokensRevoked(user=msg.sender, provider=provider, newGeneration=generation)


@external
@view
def isTokenRevoked(user: address, provider: address, tokenId: uint8) -> bool:
    """
    @notice Whether the token of the current generation is revoked. Older generations are revoked as a whole.
    @dev Reverts `AccountNotExists`.
    """
    accounts._existing(user, provider)
    generation: uint256 = 0
    bitmap: uint256 = 0
    generation, bitmap = tokens._state(accounts._key(user, provider))
    return (bitmap >> convert(tokenId, uint256)) & 1 == 1


@external
@view
def getAccount(user: address, provider: address) -> Account:
    """
    @notice One account; amounts in wei, times in unix seconds; `refunds` lists the active ones.
    @dev Reverts `AccountNotExists`.
    """
    accounts._existing(user, provider)
    return self._account(user, provider)


@external
@view
@raw_return
def getAllAccounts(offset: uint256, limit: uint256) -> Bytes[PAGE_BYTES]:
    """
    @notice A page of all accounts and their number. No limit (0) means 50, the most.
    @dev Reverts `LimitTooLarge`.
    """
    return self._page(accounts.ALL, empty(address), offset, limit)


@external
@view
@raw_return
def getAccountsByProvider(
    provider: address, offset: uint256, limit: uint256
) -> Bytes[PAGE_BYTES]:
    """
    @notice A page of the accounts with one provider and their number. No limit (0) means 50, the most.
    @dev Reverts `LimitTooLarge`.
    """
    return self._page(accounts.BY_PROVIDER, provider, offset, limit)


@external
@view
@raw_return
def getAccountsByUser(user: address, offset: uint256, limit: uint256) -> Bytes[PAGE_BYTES]:
    """
    @notice A page of the accounts of one user and their number. No limit (0) means 50, the most.
    @dev Reverts `LimitTooLarge`.
    """
    return self._page(accounts.BY_USER, user, offset, limit)


@external
@view
def getBatchAccountsByUsers(
    users: DynArray[address, MAX_BATCH_DECODED]
) -> DynArray[Account, MAX_BATCH]:
    """
    @notice The accounts of up to 500 users with the caller as provider, in their order; zeros where there is none.
    @dev Reverts `BatchSizeTooLarge`.
    """
    if len(users) > MAX_BATCH:
        errors._batch_size_too_large(len(users), MAX_BATCH)
    batch: DynArray[Account, MAX_BATCH] = []
    for user: address in users:
        if accounts._word(user, msg.sender) & accounts.EXISTS != 0:
            batch.append(self._account(user, msg.sender))
        else:
            batch.append(empty(Account))
    return batch


# Providers


@external
@payable
def addOrUpdateService(params: ServiceParams):
    """
    @notice Register with a stake (the coins sent, all of it), or change the registration (no coins). Prices are wei
            per token. A change of anything but url and prices takes the owner's confirmation back.
    @dev Reverts `InsufficientStake`, `CannotAddStakeWhenUpdating`, `AdditionalInfoTooLong` (4096 bytes),
         `TextTooLong` (url 2048, others 256 bytes), `AmountTooLarge` (a price of 2**104 wei or more); emits
         `ProviderStaked` at the first time, `ServiceUpdated` always.
    """
    known: uint256 = services._words[msg.sender]
    word: uint256 = services._stake(msg.sender, known, msg.value)
    if len(params.additionalInfo) > accounts.MAX_INFO:
        errors._additional_info_too_long()
    self._check_text(len(params.serviceType), MAX_SHORT)
    self._check_text(len(params.model), MAX_SHORT)
    self._check_text(len(params.verifiability), MAX_SHORT)
    self._check_text(len(params.url), MAX_URL)
    self._check_price(params.inputPrice)
    self._check_price(params.outputPrice)

    lengths: uint256 = (
        (len(params.serviceType) << 64)
        | (len(params.model) << 48)
        | (len(params.verifiability) << 32)
        | (len(params.additionalInfo) << 16)
        | len(params.url)
    )
    text: Bytes[MAX_TEXT] = concat(
        convert(convert(lengths, uint80), bytes10),
        convert(params.serviceType, Bytes[MAX_SHORT_DECODED]),
        convert(params.model, Bytes[MAX_SHORT_DECODED]),
        convert(params.verifiability, Bytes[MAX_SHORT_DECODED]),
        convert(params.additionalInfo, Bytes[accounts.MAX_INFO_DECODED]),
        convert(params.url, Bytes[MAX_URL_DECODED]),
    )
    critical: uint256 = len(text) - len(params.url)

    details: uint256 = 0
    if known == 0:
        details = services._enlist(msg.sender)
    else:
        details = services._details[msg.sender]
    blob: address = services._text(details)
    if blob == empty(address) or keccak256(concat(x"00", text)) != blob.codehash:
        if known != 0 and not self._same_start(blob, text, critical):
            word = word & ~services.ACKNOWLEDGED
        prefix: bytes11 = blobs._creation_prefix(len(text))
        blob = raw_create(concat(prefix, text))
        services._details[msg.sender] = (details & ~services.TEXT_MASK) | convert(blob, uint256)

    if convert(params.teeSignerAddress, uint256) != word & services.SIGNER_MASK:
        word = (word & (services.STAKE_MASK << services.STAKE_OFFSET)) | convert(
            params.teeSignerAddress, uint256
        )
    if word != known:
        services._words[msg.sender] = word
    _prices: uint256 = (
        params.inputPrice
        | (params.outputPrice << OUTPUT_OFFSET)
        | (block.timestamp << UPDATED_OFFSET)
    )
    self._prices[msg.sender] = _prices
    log ServiceUpdated(
        service=msg.sender,
        serviceType=params.serviceType,
        url=params.url,
        inputPrice=params.inputPrice,
        outputPrice=params.outputPrice,
        updatedAt=block.timestamp,
        model=params.model,
        verifiability=params.verifiability,
    )


@external
def removeService():
    """
    @notice End the registration and take the whole stake back. By the provider. Warning: what is not settled yet can
            no longer be settled.
    @dev Reverts `ServiceNotExist`, `TransferFailed`, `PayoutInProgress`; emits `ProviderStakeReturned`,
         `ServiceRemoved`. Re-entrancy: pays last, under the payout lock.
    """
    stake: uint256 = services._remove(msg.sender)
    self._prices[msg.sender] = 0
    log services.ProviderStakeReturned(provider=msg.sender, amount=stake)
    log ServiceRemoved(service=msg.sender)
    self._pay(msg.sender, stake)


@external
@view
def serviceExists(provider: address) -> bool:
    """
    @notice Whether the provider is registered.
    """
    return services._words[provider] != 0


@external
@view
@raw_return
def getService(provider: address) -> Bytes[SERVICES_BYTES]:
    """
    @notice A provider's registration; prices in wei per token, `updatedAt` in unix seconds.
    @dev Reverts `ServiceNotExist`. An encoded page of one, without the three words that make it a page, is the
         encoded registration.
    """
    services._registered(provider)
    page: Bytes[SERVICES_BYTES] = self._services(services._position(provider), 1)
    return slice(page, 96, len(page) - 96)


@external
@view
@raw_return
def getAllServices(offset: uint256, limit: uint256) -> Bytes[SERVICES_BYTES]:
    """
    @notice A page of all registrations and their number. No limit (0) means 50, the most.
    @dev Reverts `LimitTooLarge`.
    """
    return self._services(offset, limit)


# Settlement


@external
def settleFeesWithTEE(
    settlements: DynArray[TEESettlementData, MAX_SETTLEMENTS_DECODED]
) -> DynArray[uint8, MAX_SETTLEMENTS_DECODED]:
    """
    @notice Settle 1 to 50 users' fees, each signed by the provider's TEE. By the provider. A bad entry gets a status
            and never stops the others; all that the batch earns is paid in one transfer at the end.
    @return One status per entry: 0 paid in full, 1 the whole balance paid and the rest reported as unsettled, 2 not
            this provider's or no service, 3 TEE signer not acknowledged by user or owner, 4 nonce used or too large,
            5 not signed by the TEE signer or no account.
    @dev Reverts `NoSettlementsProvided`, `TooManySettlements`, `TransferFailed`, `PayoutInProgress`; emits per entry
         `BalanceUpdated` when something is paid, then `TEESettlementResult`. Re-entrancy: pays last, under the
         payout lock.
    """
    self._check_count(len(settlements), MAX_SETTLEMENTS)
    service: uint256 = services._words[msg.sender]
    signer: address = services._confirmed_signer(service)
    domain: bytes32 = tee._domain(NAME_HASH)
    statuses: DynArray[uint8, MAX_SETTLEMENTS_DECODED] = []
    provider_key: uint256 = accounts._key(empty(address), msg.sender)
    earned: uint256 = 0
    for settlement: TEESettlementData in settlements:
        user: address = settlement.user
        key: uint256 = convert(user, uint256) ^ provider_key
        word: uint256 = accounts._words[key]
        unsettled: uint256 = settlement.totalFee
        status: uint8 = self._judge(settlement, word, service, signer, domain)
        if status == SUCCESS:
            used: uint256 = (word >> accounts.NONCE_OFFSET) & accounts.NONCE_MASK
            balance: uint256 = word & accounts.COINS_MASK
            paid: uint256 = unsettled
            if paid > balance:
                paid = balance
                status = PARTIAL
            word = unsafe_sub(
                unsafe_add(word, unsafe_sub(settlement.nonce, used) << accounts.NONCE_OFFSET), paid
            )
            balance = unsafe_sub(balance, paid)
            pending: uint256 = (word >> accounts.PENDING_OFFSET) & accounts.COINS_MASK
            if pending > balance:
                pending = balance
                word = accounts._cover(key, word)
            accounts._words[key] = word
            if paid != 0:
                unsettled = unsafe_sub(unsettled, paid)
                earned = unsafe_add(earned, paid)
                log accounts.BalanceUpdated(
                    user=user, provider=msg.sender, amount=balance, pendingRefund=pending
                )
        statuses.append(status)
        log TEESettlementResult(user=user, status=status, unsettledAmount=unsettled)
    if earned != 0:
        self._pay(msg.sender, earned)
    return statuses


@external
@view
def previewSettlementResults(
    settlements: DynArray[TEESettlementData, MAX_SETTLEMENTS_DECODED]
) -> (
    DynArray[address, MAX_SETTLEMENTS_DECODED],
    DynArray[uint8, MAX_SETTLEMENTS_DECODED],
    DynArray[address, MAX_SETTLEMENTS_DECODED],
    DynArray[uint256, MAX_SETTLEMENTS_DECODED],
):
    """
    @notice What `settleFeesWithTEE` would do now for the caller as provider, entry after entry.
    @return Users that fail, why, users that are paid in part, and how many wei stay unsettled
    @dev Reverts `NoSettlementsProvided`, `TooManySettlements`.
    """
    self._check_count(len(settlements), MAX_SETTLEMENTS)
    service: uint256 = services._words[msg.sender]
    signer: address = services._confirmed_signer(service)
    domain: bytes32 = tee._domain(NAME_HASH)
    failed: DynArray[address, MAX_SETTLEMENTS_DECODED] = []
    reasons: DynArray[uint8, MAX_SETTLEMENTS_DECODED] = []
    partly: DynArray[address, MAX_SETTLEMENTS_DECODED] = []
    missing: DynArray[uint256, MAX_SETTLEMENTS_DECODED] = []
    words: DynArray[uint256, MAX_SETTLEMENTS_DECODED] = []
    for settlement: TEESettlementData in settlements:
        word: uint256 = accounts._word(settlement.user, msg.sender)
        for i: uint256 in range(len(words), bound=MAX_SETTLEMENTS_DECODED):
            if settlements[i].user == settlement.user:
                word = words[i]
        status: uint8 = self._judge(settlement, word, service, signer, domain)
        if status == SUCCESS:
            paid: uint256 = min(settlement.totalFee, word & accounts.COINS_MASK)
            word = (
                (word & ~accounts.NONCE_BITS) | (settlement.nonce << accounts.NONCE_OFFSET)
            ) - paid
            if paid < settlement.totalFee:
                partly.append(settlement.user)
                missing.append(settlement.totalFee - paid)
        else:
            failed.append(settlement.user)
            reasons.append(status)
        words.append(word)
    return failed, reasons, partly, missing


@external
def settleBatchWithTEE(
    rows: DynArray[UserSettlement, MAX_ROWS_DECODED], signature: Bytes[tee.MAX_SIGNATURE]
) -> uint256[STATUS_WORDS]:
    """
    @notice Settle 1 to 200 users' fees, all signed at once by the provider's TEE as one `TEESettlementBatch`. By the
            provider. Each row has its own nonce and gets its own status, as in `settleFeesWithTEE`. Called without
            a transaction it is its own preview.
    @param rows Compact rows: `userAndFee` is the user's address, shifted left by 96 bits, and the fee in wei.
    @return Four bits per row, from the lowest of the first word on: the row's status
    @dev Reverts `NoSettlementsProvided`, `TooManySettlements`, `TransferFailed`, `PayoutInProgress`; emits
         `BatchRowSettled` per row, then `BatchSettled`. Re-entrancy: pays last, under the payout lock.
    """
    self._check_count(len(rows), MAX_ROWS)
    hashes: bytes32[MAX_ROWS_DECODED] = empty(bytes32[MAX_ROWS_DECODED])
    at: uint256 = 0
    for row: UserSettlement in rows:
        hashes[at] = keccak256(
            abi_encode(
                ROW_TYPEHASH,
                row.userAndFee >> 96,
                row.userAndFee & FEE_MASK,
                row.nonce,
                row.requestsHash,
            )
        )
        at = unsafe_add(at, 1)
    struct_hash: bytes32 = keccak256(
        abi_encode(
            BATCH_TYPEHASH, msg.sender, keccak256(slice(abi_encode(hashes), 0, 32 * len(rows)))
        )
    )
    service: uint256 = services._words[msg.sender]
    signer: address = services._confirmed_signer(service)
    last: uint256 = 0
    if signer != empty(address) and tee._signed_by(signer, keccak256(concat(x"1901", tee._domain(NAME_HASH), struct_hash)), signature):
        last = accounts.MAX_NONCE

    statuses: uint256[STATUS_WORDS] = empty(uint256[STATUS_WORDS])
    provider_key: uint256 = accounts._key(empty(address), msg.sender)
    earned: uint256 = 0
    at = 0
    for row: UserSettlement in rows:
        user: address = convert(row.userAndFee >> 96, address)
        key: uint256 = convert(user, uint256) ^ provider_key
        word: uint256 = accounts._words[key]
        balance: uint256 = word & accounts.COINS_MASK
        used: uint256 = (word >> accounts.NONCE_OFFSET) ^ UNACKNOWLEDGED
        paid: uint256 = 0
        status: uint8 = SUCCESS
        if row.nonce > used and row.nonce <= last:
            paid = row.userAndFee & FEE_MASK
            if paid > balance:
                paid = balance
                status = PARTIAL
                statuses[at // 64] |= 1 << (4 * (at % 64))
            balance = unsafe_sub(balance, paid)
            earned = unsafe_add(earned, paid)
            word = unsafe_sub(
                unsafe_add(word, unsafe_sub(row.nonce, used) << accounts.NONCE_OFFSET), paid
            )
            if (word >> accounts.PENDING_OFFSET) & accounts.COINS_MASK > balance:
                word = accounts._cover(key, word)
            accounts._words[key] = word
        else:
            status = self._refusal(word, service, row.nonce)
            statuses[at // 64] |= convert(status, uint256) << (4 * (at % 64))
        at = unsafe_add(at, 1)
        log BatchRowSettled(user=user, status=status, paid=paid, balance=balance)
    log BatchSettled(provider=msg.sender, rows=at, paid=earned)
    if earned != 0:
        self._pay(msg.sender, earned)
    return statuses


@internal
@view
def _judge(
    settlement: TEESettlementData, word: uint256, service: uint256, signer: address, domain: bytes32
) -> uint8:
    """
    @dev Whether an entry may be charged to the account with this word (0), or why not.
    """
    if settlement.provider != msg.sender:
        return PROVIDER_MISMATCH
    if (
        signer != empty(address)
        and settlement.nonce > (word >> accounts.NONCE_OFFSET) ^ UNACKNOWLEDGED
        and settlement.nonce <= accounts.MAX_NONCE
    ):
        struct_hash: bytes32 = keccak256(
            abi_encode(
                SETTLEMENT_TYPEHASH,
                settlement.requestsHash,
                settlement.nonce,
                msg.sender,
                settlement.user,
                settlement.totalFee,
            )
        )
        if tee._signed_by(signer, keccak256(concat(x"1901", domain, struct_hash)), settlement.signature):
            return SUCCESS
    return self._refusal(word, service, settlement.nonce)


@internal
@pure
def _refusal(word: uint256, service: uint256, nonce: uint256) -> uint8:
    """
    @dev Why an entry is not paid, in the order that clients know; what nothing else is wrong with has no signature.
    """
    if word & accounts.EXISTS == 0:
        return INVALID_SIGNATURE
    if service == 0:
        return PROVIDER_MISMATCH
    if (
        word >> accounts.ACKNOWLEDGED_OFFSET == 0
        or services._confirmed_signer(service) == empty(address)
    ):
        return NO_TEE_SIGNER
    if nonce <= (word >> accounts.NONCE_OFFSET) & accounts.NONCE_MASK or nonce > accounts.MAX_NONCE:
        return INVALID_NONCE
    return INVALID_SIGNATURE


@internal
def _pay(to: address, amount: uint256):
    if not payouts._pay(to, amount):
        raw_revert(method_id("TransferFailed()"))


@internal
@view
def _page(kind: uint256, key: address, offset: uint256, limit: uint256) -> Bytes[PAGE_BYTES]:
    """
    @dev A page of one of the three lists of accounts, encoded as (accounts, total): one encoder for all listings.
    """
    self._check_limit(limit)
    total: uint256 = accounts._listed(kind, key)
    page: DynArray[Account, accounts.MAX_PAGE] = []
    for i: uint256 in range(accounts._page_size(offset, limit, total), bound=accounts.MAX_PAGE):
        user: address = empty(address)
        provider: address = empty(address)
        user, provider = accounts._account_at(kind, key, offset + i)
        page.append(self._account(user, provider))
    return abi_encode(page, total)


@internal
@view
def _account(user: address, provider: address) -> Account:
    word: uint256 = accounts._word(user, provider)
    generation: uint256 = 0
    bitmap: uint256 = 0
    generation, bitmap = tokens._state(accounts._key(user, provider))
    return Account(
        user=user,
        provider=provider,
        nonce=(word >> accounts.NONCE_OFFSET) & accounts.NONCE_MASK,
        balance=word & accounts.COINS_MASK,
        pendingRefund=(word >> accounts.PENDING_OFFSET) & accounts.COINS_MASK,
        refunds=accounts._active_refunds(user, provider, word),
        additionalInfo=accounts._info(user, provider, word),
        acknowledged=word >> accounts.ACKNOWLEDGED_OFFSET != 0,
        validRefundsLength=accounts._count(word),
        generation=generation,
        revokedBitmap=bitmap,
    )


@internal
@view
def _services(offset: uint256, limit: uint256) -> Bytes[SERVICES_BYTES]:
    """
    @dev A page of the registrations, encoded as (services, total).
    """
    self._check_limit(limit)
    total: uint256 = services._count()
    page: DynArray[Service, accounts.MAX_PAGE] = []
    for i: uint256 in range(accounts._page_size(offset, limit, total), bound=accounts.MAX_PAGE):
        page.append(self._service(services._provider_at(offset + i)))
    return abi_encode(page, total)


@internal
@view
def _service(provider: address) -> Service:
    word: uint256 = services._words[provider]
    prices: uint256 = self._prices[provider]
    text: Bytes[MAX_TEXT] = raw_call(
        blobs.READER,
        abi_encode(services._text(services._details[provider])),
        max_outsize=MAX_TEXT,
        is_static_call=True,
    )
    header: uint256 = convert(slice(text, 0, HEADER), uint256)
    at_model: uint256 = HEADER + (header >> 64)
    at_verifiability: uint256 = at_model + ((header >> 48) & 65535)
    at_info: uint256 = at_verifiability + ((header >> 32) & 65535)
    at_url: uint256 = at_info + ((header >> 16) & 65535)
    return Service(
        provider=provider,
        serviceType=convert(slice(text, HEADER, at_model - HEADER), String[MAX_SHORT]),
        url=convert(slice(text, at_url, len(text) - at_url), String[MAX_URL]),
        inputPrice=prices & PRICE_MASK,
        outputPrice=(prices >> OUTPUT_OFFSET) & PRICE_MASK,
        updatedAt=prices >> UPDATED_OFFSET,
        model=convert(slice(text, at_model, at_verifiability - at_model), String[MAX_SHORT]),
        verifiability=convert(
            slice(text, at_verifiability, at_info - at_verifiability), String[MAX_SHORT]
        ),
        additionalInfo=convert(slice(text, at_info, at_url - at_info), String[accounts.MAX_INFO]),
        teeSignerAddress=convert(word & services.SIGNER_MASK, address),
        teeSignerAcknowledged=word >> services.ACKNOWLEDGED_OFFSET != 0,
    )


@internal
@view
def _same_start(blob: address, text: Bytes[MAX_TEXT], length: uint256) -> bool:
    """
    @dev Whether a blob begins like `text`, but for the length of the url.
    """
    old: Bytes[MAX_TEXT] = raw_call(
        blobs.READER, abi_encode(blob), max_outsize=MAX_TEXT, is_static_call=True
    )
    return (
        len(old) >= length
        and slice(old, 0, HEADER - 2) == slice(text, 0, HEADER - 2)
        and keccak256(slice(old, HEADER, length - HEADER))
        == keccak256(slice(text, HEADER, length - HEADER))
    )


@internal
@view
def _check_ledger():
    if msg.sender != accounts.ledgerAddress:
        raw_revert(abi_encode(msg.sender, method_id=method_id("CallerNotLedger(address)")))


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
@pure
def _check_lock_time(seconds: uint256):
    if seconds < MIN_LOCKTIME or seconds > MAX_LOCKTIME:
        raw_revert(
            abi_encode(
                seconds,
                MIN_LOCKTIME,
                MAX_LOCKTIME,
                method_id=method_id("LockTimeOutOfRange(uint256,uint256,uint256)"),
            )
        )


@internal
@pure
def _check_limit(limit: uint256):
    if limit > accounts.MAX_PAGE:
        raw_revert(
            abi_encode(
                limit, accounts.MAX_PAGE, method_id=method_id("LimitTooLarge(uint256,uint256)")
            )
        )


@internal
@pure
def _check_count(count: uint256, maximum: uint256):
    if count == 0:
        raw_revert(method_id("NoSettlementsProvided()"))
    if count > maximum:
        raw_revert(
            abi_encode(count, maximum, method_id=method_id("TooManySettlements(uint256,uint256)"))
        )


@internal
@pure
def _check_text(length: uint256, maximum: uint256):
    if length > maximum:
        errors._text_too_long(length, maximum)


@internal
@pure
def _check_price(price: uint256):
    if price > PRICE_MASK:
        errors._amount_too_large(price, PRICE_MASK)
