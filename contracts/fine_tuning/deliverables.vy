# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Deliverables of a provider for a user
@custom:contract-name deliverables
@license Apache-2.0
@author Serving Network maintainers
@notice For each pair of user and provider, a ring keeps the last 20 deliverables, oldest first. A full ring drops the
        oldest one once it is settled.

            255          74 73      10 9       5 4      0
            [ 0            | epoch:64 | count:5 | head:5 ]   ring: `head` is the index of the oldest

            255 202 201   42 41         2 1         0
            [ 0    | blob:160 | timestamp:40 | settled:1 | acknowledged:1 ]   entry

        epoch         how often the ring was dropped; part of every entry's key, so that dropping the ring costs the same
                      regardless of its content
        timestamp     unix seconds of its addition
        acknowledged  the user has accepted it, or the provider has abandoned it
        settled       final: it is paid, penalized or abandoned

        A ring is stored under the key of its account. Its slots hold the keys of the entries; an entry is found by
        its ID without a search. The entry's blob contains

            [ length of ID:16 | length of model root hash:16 | ID | model root hash | encrypted secret ]

        and is rewritten, with the secret, when the provider is paid.
@custom:risk The module holds no coins; an entry that could be settled twice would be paid twice, if nonces did not
        prevent it.
@custom:mitigation Users acknowledge only what they received. What is not acknowledged costs the penalty, once. An
        acknowledgement names an ID, and a dropped ID can be added again with another model root hash. The TEE, which
        signs the hash, is the protection against a provider that swaps it.
"""

from ..serving import blobs
from . import fine_tuning_errors as errors

uses: blobs


event DeliverableAdded:
    user: indexed(address)
    provider: indexed(address)
    deliverableId: String[MAX_ID_DECODED]
    modelRootHash: Bytes[MAX_ROOT_DECODED]
    timestamp: uint256


event DeliverableEvicted:
    provider: indexed(address)
    user: indexed(address)
    evictedDeliverableId: String[MAX_ID]
    newDeliverableId: String[MAX_ID_DECODED]
    timestamp: uint256


# @dev `_body` encodes this struct.
struct Deliverable:
    id: String[MAX_ID]
    modelRootHash: Bytes[MAX_ROOT]
    encryptedSecret: Bytes[MAX_SECRET]
    acknowledged: bool
    timestamp: uint248
    settled: bool


# @dev Documented limits in bytes. Decoding accepts more, so that longer input reverts with the named error.
MAX_ID: constant(uint256) = 256
MAX_ID_DECODED: constant(uint256) = errors.MAX_ID_DECODED
MAX_ROOT: constant(uint256) = 1024
MAX_ROOT_DECODED: constant(uint256) = 1280
MAX_SECRET: constant(uint256) = 1024
MAX_SECRET_DECODED: constant(uint256) = 1280

CAPACITY: constant(uint256) = 20

INDEX_MASK: constant(uint256) = 31
COUNT_OFFSET: constant(uint256) = 5
ONE: constant(uint256) = 1 << COUNT_OFFSET
EPOCH_OFFSET: constant(uint256) = 10

ACKNOWLEDGED: constant(uint256) = 1
SETTLED: constant(uint256) = 2
TIMESTAMP_OFFSET: constant(uint256) = 2
TIMESTAMP_MASK: constant(uint256) = 2**40 - 1
BLOB_OFFSET: constant(uint256) = 42
STATE_MASK: constant(uint256) = 2**BLOB_OFFSET - 1

HEADER: constant(uint256) = 4
TEXT_BYTES: constant(uint256) = HEADER + MAX_ID + MAX_ROOT + MAX_SECRET

# @dev An encoded deliverable: 6 words and three texts with their lengths.
BODY_BYTES: constant(uint256) = 32 * 9 + MAX_ID + MAX_ROOT + MAX_SECRET
LENGTH_MASK: constant(uint256) = 65535

# @custom:packed _rings head:5, count:5, epoch:64
_rings: HashMap[bytes32, uint256]

_places: HashMap[bytes32, bytes32[CAPACITY]]

# @custom:packed _entries acknowledged:1, settled:1, timestamp:40, blob:160
_entries: HashMap[bytes32, uint256]


@internal
@pure
def _key(account: bytes32, ring: uint256, id: String[MAX_ID_DECODED]) -> bytes32:
    return keccak256(abi_encode(account, ring >> EPOCH_OFFSET, keccak256(id)))


@internal
@view
def _find(
    account: bytes32, id: String[MAX_ID_DECODED], settled: uint256
) -> (bytes32, uint256):
    """
    @dev Returns key and entry of a deliverable that is not settled. Otherwise reverts with the error `settled`, or
         with `DeliverableNotExists` if there is none, also for an ID that no deliverable can have.
    """
    key: bytes32 = self._key(account, self._rings[account], id)
    entry: uint256 = self._entries[key]
    if entry == 0:
        errors._about_deliverable(
            convert(method_id("DeliverableNotExists(string)", output_type=bytes4), uint256), id
        )
    if entry & SETTLED != 0 and settled != 0:
        errors._about_deliverable(settled, id)
    return key, entry


@internal
def _add(
    account: bytes32,
    user: address,
    provider: address,
    id: String[MAX_ID_DECODED],
    modelRootHash: Bytes[MAX_ROOT_DECODED],
):
    """
    @dev Appends a deliverable; the lengths of its ID and model root hash were checked. Reverts with
         `DeliverableAlreadyExists`, `PreviousDeliverableNotAcknowledged` (a settled one never blocks),
         `CannotEvictUnsettledDeliverable`. Emits `DeliverableEvicted` if the ring was full, then `DeliverableAdded`.
    """
    ring: uint256 = self._rings[account]
    key: bytes32 = self._key(account, ring, id)
    if self._entries[key] != 0:
        errors._about_deliverable(
            convert(method_id("DeliverableAlreadyExists(string)", output_type=bytes4), uint256), id
        )
    head: uint256 = ring & INDEX_MASK
    place: uint256 = (ring >> COUNT_OFFSET) & INDEX_MASK
    if place != 0:
        latest: uint256 = self._nth(account, unsafe_sub(place, 1))
        if latest & (ACKNOWLEDGED | SETTLED) == 0:
            errors._about_deliverable(
                convert(
                    method_id("PreviousDeliverableNotAcknowledged(string)", output_type=bytes4), uint256
                ),
                self._id(latest),
            )
    if place < CAPACITY:
        ring = unsafe_add(ring, ONE)
    else:
        place = head
        ring = unsafe_add(unsafe_sub(ring, head), unsafe_add(head, 1) % CAPACITY)
        oldest: bytes32 = self._places[account][head]
        entry: uint256 = self._entries[oldest]
        evicted: String[MAX_ID] = self._id(entry)
        if entry & SETTLED == 0:
            errors._about_deliverable(
                convert(
                    method_id("CannotEvictUnsettledDeliverable(string)", output_type=bytes4), uint256
                ),
                evicted,
            )
        self._entries[oldest] = 0
        log DeliverableEvicted(
            provider=provider,
            user=user,
            evictedDeliverableId=evicted,
            newDeliverableId=id,
            timestamp=block.timestamp,
        )
    self._rings[account] = ring
    self._places[account][place] = key
    blob: uint256 = self._write(id, modelRootHash, b"")
    self._entries[key] = blob | (block.timestamp << TIMESTAMP_OFFSET)
    log DeliverableAdded(
        user=user,
        provider=provider,
        deliverableId=id,
        modelRootHash=modelRootHash,
        timestamp=block.timestamp,
    )


@internal
def _forget(account: bytes32):
    """
    @dev Drops the ring in one write, regardless of its content.
    """
    ring: uint256 = self._rings[account]
    if ring & (INDEX_MASK << COUNT_OFFSET) != 0:
        self._rings[account] = unsafe_add(ring >> EPOCH_OFFSET, 1) << EPOCH_OFFSET


@internal
@view
def _count(account: bytes32) -> uint256:
    return (self._rings[account] >> COUNT_OFFSET) & INDEX_MASK


@internal
@view
def _nth(account: bytes32, index: uint256) -> uint256:
    """
    @dev The entry of a deliverable, counted from the oldest.
    """
    place: uint256 = unsafe_add(self._rings[account] & INDEX_MASK, index) % CAPACITY
    return self._entries[self._places[account][place]]


@internal
@pure
def _header(id_length: uint256, root_length: uint256) -> bytes4:
    return convert(convert((id_length << 16) | root_length, uint32), bytes4)


@internal
def _write(
    id: String[MAX_ID_DECODED],
    root: Bytes[MAX_ROOT_DECODED],
    secret: Bytes[MAX_SECRET_DECODED],
) -> uint256:
    """
    @dev Creates a deliverable's blob and returns its address, shifted as in the entry.
    """
    length: uint256 = unsafe_add(unsafe_add(HEADER, len(id)), unsafe_add(len(root), len(secret)))
    prefix: bytes11 = blobs._creation_prefix(length)
    header: bytes4 = self._header(len(id), len(root))
    blob: address = raw_create(
        concat(prefix, header, convert(id, Bytes[MAX_ID_DECODED]), root, secret)
    )
    return convert(blob, uint256) << BLOB_OFFSET


@internal
@view
def _holds(entry: uint256, id: String[MAX_ID_DECODED], root: Bytes[MAX_ROOT_DECODED]) -> bool:
    """
    @dev Returns whether an entry without a secret has this ID and model root hash.
    """
    header: bytes4 = self._header(len(id), len(root))
    return (
        keccak256(concat(x"00", header, convert(id, Bytes[MAX_ID_DECODED]), root))
        == convert(entry >> BLOB_OFFSET, address).codehash
    )


@internal
@view
def _id(entry: uint256) -> String[MAX_ID]:
    start: Bytes[HEADER + MAX_ID] = raw_call(
        blobs.READER,
        abi_encode(entry >> BLOB_OFFSET),
        max_outsize=HEADER + MAX_ID,
        is_static_call=True,
    )
    length: uint256 = convert(slice(start, 0, 2), uint256)
    return convert(slice(start, HEADER, length), String[MAX_ID])


@internal
@view
def _body(entry: uint256) -> Bytes[BODY_BYTES]:
    """
    @dev A deliverable, encoded as the members of the struct.
    """
    text: Bytes[TEXT_BYTES] = raw_call(
        blobs.READER,
        abi_encode(entry >> BLOB_OFFSET),
        max_outsize=TEXT_BYTES,
        is_static_call=True,
    )
    at_root: uint256 = unsafe_add(HEADER, convert(slice(text, 0, 2), uint256))
    at_secret: uint256 = unsafe_add(at_root, convert(slice(text, 2, 2), uint256))
    return convert(
        abi_encode(
            slice(text, HEADER, unsafe_sub(at_root, HEADER)),
            slice(text, at_root, unsafe_sub(at_secret, at_root)),
            slice(text, at_secret, unsafe_sub(len(text), at_secret)),
            entry & ACKNOWLEDGED != 0,
            (entry >> TIMESTAMP_OFFSET) & TIMESTAMP_MASK,
            entry & SETTLED != 0,
        ),
        Bytes[BODY_BYTES],
    )
