# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Registrations of inference providers
@custom:contract-name offers
@license Apache-2.0
@author Serving Network maintainers
@notice A registration has a type, model, verifiability, description, URL and prices, besides the stake and the TEE
        signer that both services have. A change of anything except URL and prices revokes the owner's
        acknowledgement.

        The texts are in one blob, the URL last. What precedes it is what the owner acknowledged:

            [ lengths of the first four:16 each | serviceType | model | verifiability | additionalInfo | url ]

        The prices have their own word, so that a price change writes no text:

            255        208 207           104 103          0
            [ updatedAt:48 | outputPrice:104 | inputPrice:104 ]
@custom:risk The module holds no coins; a wrong displayed price could mislead users.
@custom:mitigation Every fee is signed by the TEE and limited by the account's balance.
"""

from ..serving import blobs
from ..serving import errors
from ..serving import services

uses: blobs
uses: services


event ServiceUpdated:
    service: indexed(address)
    serviceType: String[MAX_SHORT_DECODED]
    url: String[MAX_URL_DECODED]
    inputPrice: uint256
    outputPrice: uint256
    updatedAt: uint256
    model: String[MAX_SHORT_DECODED]
    verifiability: String[MAX_SHORT_DECODED]


struct Service:
    provider: address
    serviceType: String[MAX_SHORT]
    url: String[MAX_URL]
    inputPrice: uint256
    outputPrice: uint256
    updatedAt: uint256
    model: String[MAX_SHORT]
    verifiability: String[MAX_SHORT]
    additionalInfo: String[MAX_INFO]
    teeSignerAddress: address
    teeSignerAcknowledged: bool


struct ServiceParams:
    serviceType: String[MAX_SHORT_DECODED]
    url: String[MAX_URL_DECODED]
    model: String[MAX_SHORT_DECODED]
    verifiability: String[MAX_SHORT_DECODED]
    inputPrice: uint256
    outputPrice: uint256
    additionalInfo: String[MAX_INFO_DECODED]
    teeSignerAddress: address


# @dev Documented limits. Decoding accepts more, so that longer input reverts with the named error.
MAX_SHORT: constant(uint256) = 256
MAX_SHORT_DECODED: constant(uint256) = 320
MAX_URL: constant(uint256) = 2048
MAX_URL_DECODED: constant(uint256) = 2560
MAX_INFO: constant(uint256) = 4096
MAX_INFO_DECODED: constant(uint256) = 5120

HEADER: constant(uint256) = 8
MAX_TEXT: constant(uint256) = HEADER + 3 * MAX_SHORT + MAX_INFO + MAX_URL

# @dev An encoded registration: 11 words and five texts with their lengths, each padded to whole words.
BODY_BYTES: constant(uint256) = 32 * (11 + 5) + 3 * MAX_SHORT + MAX_URL + MAX_INFO

PRICE_MASK: constant(uint256) = 2**104 - 1
OUTPUT_OFFSET: constant(uint256) = 104
UPDATED_OFFSET: constant(uint256) = 208

# @custom:packed _prices inputPrice:104, outputPrice:104, updatedAt:48
_prices: HashMap[address, uint256]


@external
@payable
def addOrUpdateService(params: ServiceParams):
    """
    @notice Registers with a stake (all coins sent), or updates the registration (no coins). Prices are in wei per
            token. An update of anything except URL and prices revokes the owner's acknowledgement.
    @dev The caller is the provider. Reverts with `InsufficientStake`, `CannotAddStakeWhenUpdating`,
         `AdditionalInfoTooLong` (4096 bytes), `TextTooLong` (url 2048, others 256 bytes), `AmountTooLarge` (a price
         of 2**104 wei or more). Emits `ProviderStaked` on the first registration, `ServiceUpdated` always.
    """
    known: uint256 = services._words[msg.sender]
    word: uint256 = services._stake(msg.sender, known, msg.value)
    if len(params.additionalInfo) > MAX_INFO:
        errors._additional_info_too_long()
    self._check_text(len(params.serviceType), MAX_SHORT)
    self._check_text(len(params.model), MAX_SHORT)
    self._check_text(len(params.verifiability), MAX_SHORT)
    self._check_text(len(params.url), MAX_URL)
    self._check_price(params.inputPrice)
    self._check_price(params.outputPrice)

    lengths: uint256 = (
        (len(params.serviceType) << 48)
        | (len(params.model) << 32)
        | (len(params.verifiability) << 16)
        | len(params.additionalInfo)
    )
    text: Bytes[MAX_TEXT] = concat(
        convert(convert(lengths, uint64), bytes8),
        convert(params.serviceType, Bytes[MAX_SHORT]),
        convert(params.model, Bytes[MAX_SHORT]),
        convert(params.verifiability, Bytes[MAX_SHORT]),
        convert(params.additionalInfo, Bytes[MAX_INFO]),
        convert(params.url, Bytes[MAX_URL]),
    )

    details: uint256 = services._details[msg.sender]
    if known == 0:
        details = services._enlist(msg.sender)
    blob: address = services._text(details)
    if keccak256(concat(x"00", text)) != blob.codehash:
        critical: uint256 = len(text) - len(params.url)
        if known != 0 and keccak256(slice(text, 0, critical)) != self._start(blob, critical):
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
    self._prices[msg.sender] = (
        params.inputPrice
        | (params.outputPrice << OUTPUT_OFFSET)
        | (block.timestamp << UPDATED_OFFSET)
    )
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
@view
def serviceExists(provider: address) -> bool:
    """
    @notice Returns whether the provider is registered.
    """
    return services._words[provider] != 0


@external
@view
@raw_return
def getService(provider: address) -> Bytes[32 + BODY_BYTES]:
    """
    @notice Returns a provider's registration; prices in wei per token, `updatedAt` in unix seconds.
    @dev Reverts with `ServiceNotExist`.
    """
    services._registered(provider)
    return concat(convert(32, bytes32), self._body(provider))


@internal
@view
def _body(provider: address) -> Bytes[BODY_BYTES]:
    """
    @dev A registration, encoded as the members of `Service`.
    """
    word: uint256 = services._words[provider]
    prices: uint256 = self._prices[provider]
    text: Bytes[MAX_TEXT] = raw_call(
        blobs.READER,
        abi_encode(services._text(services._details[provider])),
        max_outsize=MAX_TEXT,
        is_static_call=True,
    )
    lengths: uint256 = convert(slice(text, 0, HEADER), uint256)
    at_model: uint256 = HEADER + (lengths >> 48)
    at_verifiability: uint256 = at_model + ((lengths >> 32) & 65535)
    at_info: uint256 = at_verifiability + ((lengths >> 16) & 65535)
    at_url: uint256 = at_info + (lengths & 65535)
    return convert(
        abi_encode(
            provider,
            slice(text, HEADER, at_model - HEADER),
            slice(text, at_url, len(text) - at_url),
            prices & PRICE_MASK,
            (prices >> OUTPUT_OFFSET) & PRICE_MASK,
            prices >> UPDATED_OFFSET,
            slice(text, at_model, at_verifiability - at_model),
            slice(text, at_verifiability, at_info - at_verifiability),
            slice(text, at_info, at_url - at_info),
            word & services.SIGNER_MASK,
            word >> services.ACKNOWLEDGED_OFFSET,
        ),
        Bytes[BODY_BYTES],
    )


@internal
@view
def _start(blob: address, length: uint256) -> bytes32:
    """
    @dev The hash of a blob's first `length` bytes, or of the whole blob if it is shorter.
    """
    text: Bytes[MAX_TEXT] = raw_call(
        blobs.READER, abi_encode(blob), max_outsize=MAX_TEXT, is_static_call=True
    )
    return keccak256(slice(text, 0, min(length, len(text))))


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
