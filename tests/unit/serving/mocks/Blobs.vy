# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Text stored as code, alone
@dev How money is lost here: no coins; it is for tests only.
     How the owner prevents it: by not using it.
"""

from contracts.serving import blobs

initializes: blobs

MAX_TEXT: constant(uint256) = 24575


@deploy
def __init__():
    blobs.__init__()


@external
def write(text: Bytes[MAX_TEXT]) -> address:
    prefix: bytes11 = blobs._creation_prefix(len(text))
    return raw_create(concat(prefix, text))


@external
@view
def read(blob: address) -> Bytes[MAX_TEXT]:
    return raw_call(blobs.READER, abi_encode(blob), max_outsize=MAX_TEXT, is_static_call=True)
