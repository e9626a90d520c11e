# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Registry of services
@custom:contract-name registry
@license Apache-2.0
@author Serving Network maintainers
@notice Every service contract has a name `type-version`; one version per type may be recommended. Services are never
        removed, because users must be able to withdraw their coins from each of them.

        Some services store the balance of each user and report it (`lockedBalance`, `providerCount`, `providersOf`).
        For the others the ledger stores these balances. Which kind a service is, is determined once, at registration.
@custom:risk A user who transfers coins to a service trusts its code, and whoever upgrades it, with those coins and no
        others: no answer of a service affects other coins.
@custom:mitigation The registry only grows. The owner recommends another version, and users retrieve their coins.
"""

from . import ledger_errors as errors
from ..serving import blobs
from ..serving import errors as shared_errors
from ..serving import lists
from ..serving import ownable

uses: blobs
uses: lists
uses: ownable


event ServiceRegistered:
    serviceAddress: indexed(address)
    serviceName: String[MAX_NAME_DECODED]


event RecommendedServiceUpdated:
    serviceType: String[MAX_WORD_DECODED]
    version: String[MAX_WORD_DECODED]
    serviceAddress: address


struct ServiceInfo:
    serviceAddress: address
    serviceContract: address
    serviceType: String[MAX_WORD]
    version: String[MAX_WORD]
    fullName: String[MAX_NAME]
    description: String[MAX_DESCRIPTION]
    isRecommended: bool
    registeredAt: uint256


# @notice The maximum number of registered services.
MAX_SERVICES: public(constant(uint256)) = 500

MAX_WORD: constant(uint256) = 64
MAX_WORD_DECODED: constant(uint256) = 96
MAX_NAME: constant(uint256) = 2 * MAX_WORD + 1
MAX_NAME_DECODED: constant(uint256) = 2 * MAX_WORD_DECODED + 1
MAX_DESCRIPTION: constant(uint256) = 1024
MAX_DESCRIPTION_DECODED: constant(uint256) = 1280
MAX_PAGE: constant(uint256) = 50

ERC165_ID: constant(bytes4) = 0x01ffc9a7
NO_ID: constant(bytes4) = 0xffffffff
SERVING_ID: constant(bytes4) = 0x160841b1
ACCOUNT_BOOK_ID: constant(bytes4) = 0x1ffc15d2
# @dev The gas that ERC-165 allows for an answer.
QUESTION_GAS: constant(uint256) = 30000

# @dev A service's strings in one blob: two lengths of two bytes each, then type, version and description.
HEADER: constant(uint256) = 4
MAX_TEXT: constant(uint256) = HEADER + 2 * MAX_WORD_DECODED + MAX_DESCRIPTION_DECODED

LIST: constant(uint256) = 1

ADDRESS_MASK: constant(uint256) = 2**160 - 1
BOOK: constant(uint256) = 2**160
INDEX_OFFSET: constant(uint256) = 161
INDEX_MASK: constant(uint256) = 2**16 - 1
TYPE_LENGTH_OFFSET: constant(uint256) = 177
TYPE_LENGTH_MASK: constant(uint256) = 2**16 - 1

REGISTERED_OFFSET: constant(uint256) = 160

#     255  193 192             177 176      161 160    159        0
#     [ 0     | typeLength:16     | index:16   | book:1 | service:160 ]
# @custom:packed _named service:160, book:1, index:16, typeLength:16
_named: HashMap[bytes32, uint256]

#     255  200 199            160 159     0
#     [ 0     | registeredAt:40  | text:160 ]
# @custom:packed _texts text:160, registeredAt:40
_texts: HashMap[address, uint256]

_recommended: HashMap[bytes32, address]


@external
def registerService(
    serviceType: String[MAX_WORD_DECODED],
    version: String[MAX_WORD_DECODED],
    serviceAddress: address,
    description: String[MAX_DESCRIPTION_DECODED],
):
    """
    @notice Registers a service under the name `type-version`. It is not recommended at first. Our own services work
            only with the ledger that they were initialized with.
    @param serviceType Type, 1 to 64 bytes.
    @param version Version, 1 to 64 bytes.
    @param serviceAddress The service contract, which supports ERC-165 and the serving interface 0x160841b1.
    @param description At most 1024 bytes.
    @dev Only the owner. Reverts with `InvalidServiceAddress`, `ServiceTypeRequired`, `VersionRequired`,
         `TextTooLong`, `ServiceAlreadyRegistered`, `ServiceNameExists`, `ServiceMustImplementIServing`,
         `ServiceRegistryLimitReached`. Emits `ServiceRegistered`.
    """
    ownable._check_owner()
    if serviceAddress == empty(address):
        errors._invalid_service_address(serviceAddress)
    if len(serviceType) == 0:
        errors._service_type_required()
    if len(version) == 0:
        errors._version_required()
    self._check_text(len(serviceType), MAX_WORD)
    self._check_text(len(version), MAX_WORD)
    self._check_text(len(description), MAX_DESCRIPTION)
    if self._texts[serviceAddress] != 0:
        errors._service_already_registered(serviceAddress)
    name: String[MAX_NAME_DECODED] = concat(serviceType, "-", version)
    if self._named[keccak256(name)] != 0:
        errors._service_name_exists(name)
    if not (
        self._supports(serviceAddress, ERC165_ID) == 1
        and self._supports(serviceAddress, NO_ID) == 0
        and self._supports(serviceAddress, SERVING_ID) == 1
    ):
        errors._must_implement_iserving(serviceAddress)
    if lists._length(LIST) >= MAX_SERVICES:
        errors._registry_limit_reached(MAX_SERVICES)

    service: uint256 = convert(serviceAddress, uint256)
    if self._supports(serviceAddress, ACCOUNT_BOOK_ID) == 1:
        service |= BOOK
    index: uint256 = lists._push(LIST, service)
    self._named[keccak256(name)] = (
        service | (index << INDEX_OFFSET) | (len(serviceType) << TYPE_LENGTH_OFFSET)
    )

    header: uint256 = (len(serviceType) << 16) | len(version)
    text: Bytes[MAX_TEXT] = concat(
        convert(convert(header, uint32), bytes4),
        convert(serviceType, Bytes[MAX_WORD_DECODED]),
        convert(version, Bytes[MAX_WORD_DECODED]),
        convert(description, Bytes[MAX_DESCRIPTION_DECODED]),
    )
    prefix: bytes11 = blobs._creation_prefix(len(text))
    blob: address = raw_create(concat(prefix, text))
    self._texts[serviceAddress] = convert(blob, uint256) | (block.timestamp << REGISTERED_OFFSET)
    log ServiceRegistered(serviceAddress=serviceAddress, serviceName=name)


@external
def setRecommendedService(
    serviceType: String[MAX_WORD_DECODED], version: String[MAX_WORD_DECODED]
):
    """
    @notice Recommends one version of a type, replacing the previous recommendation.
    @dev Only the owner. Reverts with `ServiceNotFound`. Emits `RecommendedServiceUpdated`.
    """
    ownable._check_owner()
    service: address = self._service_of(serviceType, version)
    if service == empty(address):
        errors._service_not_found()
    self._recommended[keccak256(serviceType)] = service
    log RecommendedServiceUpdated(serviceType=serviceType, version=version, serviceAddress=service)


@external
@view
def getServiceInfo(serviceAddress: address) -> ServiceInfo:
    """
    @notice Returns a registered service; zeros and empty strings for any other address.
    """
    if self._texts[serviceAddress] == 0:
        return empty(ServiceInfo)
    return self._info(serviceAddress)


@external
@view
def getServiceAddressByName(serviceName: String[MAX_NAME_DECODED]) -> address:
    """
    @notice Returns the service with that full name; zero if there is none.
    """
    return self._address(self._named[keccak256(serviceName)])


@external
@view
def getAllActiveServices() -> DynArray[ServiceInfo, MAX_SERVICES]:
    """
    @notice Returns all registered services, oldest first.
    """
    every: DynArray[ServiceInfo, MAX_SERVICES] = []
    for i: uint256 in range(lists._length(LIST), bound=MAX_SERVICES):
        every.append(self._info(self._address(lists._at(LIST, i))))
    return every


@external
@view
def getActiveServices(
    offset: uint256, limit: uint256
) -> (DynArray[ServiceInfo, MAX_PAGE], uint256):
    """
    @notice Returns a page of the registered services, oldest first, and their total number. A limit of 0, or above
            50, means 50.
    """
    total: uint256 = lists._length(LIST)
    page: DynArray[ServiceInfo, MAX_PAGE] = []
    for i: uint256 in range(self._page_size(offset, limit, total), bound=MAX_PAGE):
        page.append(self._info(self._address(lists._at(LIST, offset + i))))
    return page, total


@external
@view
def getAllVersions(
    serviceType: String[MAX_WORD_DECODED]
) -> (
    DynArray[String[MAX_WORD], MAX_SERVICES],
    DynArray[address, MAX_SERVICES],
    DynArray[bool, MAX_SERVICES],
):
    """
    @notice Returns all versions of a type, oldest first, with their addresses and whether each is recommended.
    """
    versions: DynArray[String[MAX_WORD], MAX_SERVICES] = []
    addresses: DynArray[address, MAX_SERVICES] = []
    flags: DynArray[bool, MAX_SERVICES] = []
    wanted: bytes32 = keccak256(serviceType)
    for i: uint256 in range(lists._length(LIST), bound=MAX_SERVICES):
        info: ServiceInfo = self._info(self._address(lists._at(LIST, i)))
        if keccak256(info.serviceType) == wanted:
            versions.append(info.version)
            addresses.append(info.serviceAddress)
            flags.append(info.isRecommended)
    return versions, addresses, flags


@external
@view
def getVersionsPaged(
    serviceType: String[MAX_WORD_DECODED], offset: uint256, limit: uint256
) -> (
    DynArray[String[MAX_WORD], MAX_PAGE],
    DynArray[address, MAX_PAGE],
    DynArray[bool, MAX_PAGE],
    uint256,
):
    """
    @notice Returns the versions of a type within a page of all services, and the total number of services: repeat
            until `offset` reaches it. A limit of 0, or above 50, means 50.
    """
    total: uint256 = lists._length(LIST)
    versions: DynArray[String[MAX_WORD], MAX_PAGE] = []
    addresses: DynArray[address, MAX_PAGE] = []
    flags: DynArray[bool, MAX_PAGE] = []
    wanted: bytes32 = keccak256(serviceType)
    for i: uint256 in range(self._page_size(offset, limit, total), bound=MAX_PAGE):
        info: ServiceInfo = self._info(self._address(lists._at(LIST, offset + i)))
        if keccak256(info.serviceType) == wanted:
            versions.append(info.version)
            addresses.append(info.serviceAddress)
            flags.append(info.isRecommended)
    return versions, addresses, flags, total


@external
@view
def getRecommendedService(
    serviceType: String[MAX_WORD_DECODED]
) -> (String[MAX_WORD], address):
    """
    @notice Returns the recommended version of a type and its address.
    @dev Reverts with `NoRecommendedService`.
    """
    service: address = self._recommended[keccak256(serviceType)]
    if service == empty(address):
        errors._no_recommended_service(serviceType)
    info: ServiceInfo = self._info(service)
    return info.version, service


@external
@view
def isRecommendedVersion(
    serviceType: String[MAX_WORD_DECODED], version: String[MAX_WORD_DECODED]
) -> bool:
    """
    @notice Returns whether this version is the recommended one of its type.
    """
    service: address = self._service_of(serviceType, version)
    return service != empty(address) and self._recommended[keccak256(serviceType)] == service


@internal
@view
def _entry(name_hash: bytes32) -> uint256:
    """
    @dev The entry registered under the full name with this hash. Reverts with `ServiceNotFound`.
    """
    entry: uint256 = self._named[name_hash]
    if entry == 0:
        errors._service_not_found()
    return entry


@internal
@view
def _at(index: uint256) -> uint256:
    """
    @dev Address and book flag of a registered service.
    """
    return lists._at(LIST, index)


@internal
@view
def _registered(service: address) -> bool:
    return self._texts[service] != 0


@internal
@view
def _service_of(
    serviceType: String[MAX_WORD_DECODED], version: String[MAX_WORD_DECODED]
) -> address:
    """
    @dev The service with exactly this type and version ("a-b" and "c" is not "a" and "b-c"); zero if there is none.
    """
    name: String[MAX_NAME_DECODED] = concat(serviceType, "-", version)
    entry: uint256 = self._named[keccak256(name)]
    if (entry >> TYPE_LENGTH_OFFSET) & TYPE_LENGTH_MASK != len(serviceType):
        return empty(address)
    return self._address(entry)


@internal
@view
def _supports(service: address, id: bytes4) -> uint256:
    """
    @dev Calls ERC-165's `supportsInterface`: returns 0 for false, 1 for true, 2 for anything else.
    """
    answered: bool = False
    answer: Bytes[32] = b""
    answered, answer = raw_call(
        service,
        abi_encode(id, method_id=method_id("supportsInterface(bytes4)")),
        max_outsize=32,
        gas=QUESTION_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    if not answered or len(answer) != 32:
        return 2
    return min(convert(answer, uint256), 2)


@internal
@view
def _info(service: address) -> ServiceInfo:
    word: uint256 = self._texts[service]
    text: Bytes[MAX_TEXT] = raw_call(
        blobs.READER,
        abi_encode(self._address(word)),
        max_outsize=MAX_TEXT,
        is_static_call=True,
    )
    header: uint256 = convert(slice(text, 0, HEADER), uint256)
    at_version: uint256 = HEADER + (header >> 16)
    at_description: uint256 = at_version + (header & 65535)
    type_: String[MAX_WORD] = convert(slice(text, HEADER, header >> 16), String[MAX_WORD])
    version: String[MAX_WORD] = convert(
        slice(text, at_version, header & 65535), String[MAX_WORD]
    )
    return ServiceInfo(
        serviceAddress=service,
        serviceContract=service,
        serviceType=type_,
        version=version,
        fullName=concat(type_, "-", version),
        description=convert(
            slice(text, at_description, len(text) - at_description), String[MAX_DESCRIPTION]
        ),
        isRecommended=self._recommended[keccak256(type_)] == service,
        registeredAt=word >> REGISTERED_OFFSET,
    )


@internal
@pure
def _index(entry: uint256) -> uint256:
    return (entry >> INDEX_OFFSET) & INDEX_MASK


@internal
@pure
def _address(word: uint256) -> address:
    return convert(word & ADDRESS_MASK, address)


@internal
@pure
def _check_text(length: uint256, maximum: uint256):
    if length > maximum:
        shared_errors._text_too_long(length, maximum)


@internal
@pure
def _page_size(offset: uint256, limit: uint256, total: uint256) -> uint256:
    """
    @dev Returns the number of entries of a page: at most 50, and 0 past the end.
    """
    if offset >= total:
        return 0
    size: uint256 = MAX_PAGE
    if limit != 0 and limit < MAX_PAGE:
        size = limit
    return min(size, total - offset)
