# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Registrations of fine-tuning providers
@custom:contract-name offers
@license Apache-2.0
@author Serving Network maintainers
@notice A registration has a URL, hardware quota, price and models, besides the stake and the TEE signer that both
        services have. Only a change of the TEE signer revokes the owner's acknowledgement.

        The numbers and texts that change together are in one blob:

            [ cpuCount:64 | nodeMemory:64 | gpuCount:64 | nodeStorage:64 | length of gpuType:16 | length of url:16
              | gpuType | url | length of a model:16 | model | ... ]

        `occupied` is the lowest of the extra bits in the provider's details. The price has its own word.
@custom:risk The module holds no coins; a wrong displayed price could mislead users.
@custom:mitigation The fee of every task is signed by the TEE and limited by the account's balance.
"""

from ..serving import blobs
from ..serving import errors
from ..serving import services

uses: blobs
uses: services


event ServiceUpdated:
    provider: indexed(address)
    url: String[MAX_URL_DECODED]
    quota: QuotaParams
    pricePerToken: uint256
    teeSignerAddress: address
    occupied: bool


struct QuotaParams:
    cpuCount: uint256
    nodeMemory: uint256
    gpuCount: uint256
    nodeStorage: uint256
    gpuType: String[MAX_SHORT_DECODED]


struct Quota:
    cpuCount: uint256
    nodeMemory: uint256
    gpuCount: uint256
    nodeStorage: uint256
    gpuType: String[MAX_SHORT]


# @dev `_body` encodes this struct.
struct Service:
    provider: address
    url: String[MAX_URL]
    quota: Quota
    pricePerToken: uint256
    occupied: bool
    models: DynArray[String[MAX_SHORT], MAX_MODELS]
    teeSignerAddress: address
    teeSignerAcknowledged: bool


# @dev Documented limits. Decoding accepts more, so that longer input reverts with the named error.
MAX_URL: constant(uint256) = 2048
MAX_URL_DECODED: constant(uint256) = 2304
MAX_SHORT: constant(uint256) = 256
MAX_SHORT_DECODED: constant(uint256) = 288
MAX_MODELS: constant(uint256) = 64
MAX_MODELS_DECODED: constant(uint256) = 68

QUOTA_MASK: constant(uint256) = 2**64 - 1
HEADER: constant(uint256) = 36
MAX_TEXT: constant(uint256) = HEADER + MAX_SHORT + MAX_URL + MAX_MODELS * (2 + MAX_SHORT)

# @dev An encoded registration: 16 words, url, gpuType, and models with their offsets and lengths.
BODY_BYTES: constant(uint256) = 32 * 16 + MAX_URL + MAX_SHORT + MAX_MODELS * (64 + MAX_SHORT)

OCCUPIED: constant(uint256) = 1 << services.EXTRA_OFFSET

# @dev Wei per token.
_prices: HashMap[address, uint256]

# @dev A hash of the blob's content, so that a change of the price alone does not have to build the text.
_digests: HashMap[address, bytes32]


@external
@payable
def addOrUpdateService(
    url: String[MAX_URL_DECODED],
    quota: QuotaParams,
    pricePerToken: uint256,
    occupied: bool,
    models: DynArray[String[MAX_SHORT_DECODED], MAX_MODELS_DECODED],
    teeSignerAddress: address,
):
    """
    @notice Registers with a stake (all coins sent), or updates the registration (no coins). The price is in wei per
            token. A change of the TEE signer revokes the owner's acknowledgement.
    @dev The caller is the provider. Reverts with `InsufficientStake`, `CannotAddStakeWhenUpdating`, `TextTooLong`
         (url 2048, gpuType and each model 256 bytes), `TooManyItems` (64 models), `AmountTooLarge` (a number of the
         quota of 2**64 or more). Emits `ProviderStaked` on the first registration, `ServiceUpdated` always.
    """
    known: uint256 = services._words[msg.sender]
    word: uint256 = services._stake(msg.sender, known, msg.value)
    self._check_text(len(url), MAX_URL)
    self._check_text(len(quota.gpuType), MAX_SHORT)
    if len(models) > MAX_MODELS:
        errors._too_many_items(len(models), MAX_MODELS)

    numbers: uint256 = (
        (self._checked(quota.cpuCount) << 192)
        | (self._checked(quota.nodeMemory) << 128)
        | (self._checked(quota.gpuCount) << 64)
        | self._checked(quota.nodeStorage)
    )
    digest: bytes32 = keccak256(abi_encode(numbers, keccak256(quota.gpuType), keccak256(url)))
    for model: String[MAX_SHORT_DECODED] in models:
        self._check_text(len(model), MAX_SHORT)
        digest = keccak256(concat(digest, keccak256(model)))

    details: uint256 = services._details[msg.sender]
    if known == 0:
        details = services._enlist(msg.sender)
    details = (details & ~OCCUPIED) | (convert(occupied, uint256) << services.EXTRA_OFFSET)
    if convert(teeSignerAddress, uint256) != word & services.SIGNER_MASK:
        stake: uint256 = (word >> services.STAKE_OFFSET) & services.STAKE_MASK
        word = (stake << services.STAKE_OFFSET) | convert(teeSignerAddress, uint256)
    services._words[msg.sender] = word
    self._prices[msg.sender] = pricePerToken
    if digest != self._digests[msg.sender]:
        self._digests[msg.sender] = digest
        lengths: uint256 = (len(quota.gpuType) << 16) | len(url)
        text: Bytes[MAX_TEXT] = concat(
            convert(numbers, bytes32),
            convert(convert(lengths, uint32), bytes4),
            convert(quota.gpuType, Bytes[MAX_SHORT_DECODED]),
            convert(url, Bytes[MAX_URL_DECODED]),
        )
        for model: String[MAX_SHORT_DECODED] in models:
            length: bytes2 = convert(convert(len(model), uint16), bytes2)
            text = convert(
                concat(text, length, convert(model, Bytes[MAX_SHORT_DECODED])), Bytes[MAX_TEXT]
            )
        prefix: bytes11 = blobs._creation_prefix(len(text))
        blob: address = raw_create(concat(prefix, text))
        details = ((details >> services.POSITION_OFFSET) << services.POSITION_OFFSET) | convert(
            blob, uint256
        )
    services._details[msg.sender] = details
    log ServiceUpdated(
        provider=msg.sender,
        url=url,
        quota=quota,
        pricePerToken=pricePerToken,
        teeSignerAddress=teeSignerAddress,
        occupied=occupied,
    )


@internal
def _forget(provider: address):
    """
    @dev Clears the data stored here for a provider whose registration is removed.
    """
    self._prices[provider] = 0
    self._digests[provider] = empty(bytes32)


@internal
@pure
def _check_text(length: uint256, maximum: uint256):
    if length > maximum:
        errors._text_too_long(length, maximum)


@internal
@pure
def _checked(number: uint256) -> uint256:
    """
    @dev A number of the quota, which must fit in 64 bits.
    """
    if number > QUOTA_MASK:
        errors._amount_too_large(number, QUOTA_MASK)
    return number


@internal
@view
def _body(provider: address) -> Bytes[BODY_BYTES]:
    """
    @dev A registration, encoded as the members of `Service`.
    """
    word: uint256 = services._words[provider]
    details: uint256 = services._details[provider]
    text: Bytes[MAX_TEXT] = raw_call(
        blobs.READER,
        abi_encode(services._text(details)),
        max_outsize=MAX_TEXT,
        is_static_call=True,
    )
    numbers: uint256 = convert(slice(text, 0, 32), uint256)
    at_url: uint256 = unsafe_add(HEADER, convert(slice(text, 32, 2), uint256))
    at: uint256 = unsafe_add(at_url, convert(slice(text, 34, 2), uint256))
    url: Bytes[MAX_URL] = convert(slice(text, at_url, unsafe_sub(at, at_url)), Bytes[MAX_URL])
    quota: Quota = Quota(
        cpuCount=numbers >> 192,
        nodeMemory=(numbers >> 128) & QUOTA_MASK,
        gpuCount=(numbers >> 64) & QUOTA_MASK,
        nodeStorage=numbers & QUOTA_MASK,
        gpuType=convert(slice(text, HEADER, unsafe_sub(at_url, HEADER)), String[MAX_SHORT]),
    )
    models: DynArray[String[MAX_SHORT], MAX_MODELS] = []
    for _: uint256 in range(MAX_MODELS):
        if at == len(text):
            break
        length: uint256 = convert(slice(text, at, 2), uint256)
        at = unsafe_add(at, 2)
        models.append(convert(slice(text, at, length), String[MAX_SHORT]))
        at = unsafe_add(at, length)
    return abi_encode(
        provider,
        url,
        quota,
        self._prices[provider],
        (details >> services.EXTRA_OFFSET) & 1,
        models,
        word & services.SIGNER_MASK,
        word >> services.ACKNOWLEDGED_OFFSET,
    )
