# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Long text, stored as contract code
@custom:contract-name blobs
@license Apache-2.0
@author Serving Network maintainers
@notice Writing costs about 32,000 gas plus 200 per byte; storage costs 690 per byte. A blob never changes: new text is a
        new blob, and comparing one code hash shows whether the text must be written at all.
@dev A blob's code is a zero byte (STOP) followed by the text. It cannot be executed, and text that begins with 0xEF can
     be deployed. The compiler charges for the bound of a buffer, not for its content, so blobs are written and read
     where the bound of the text is known: `raw_create(concat(prefix, text))`, at most 24,575 bytes, and
     `raw_call(blobs.READER, abi_encode(blob), max_outsize=bound, is_static_call=True)`.

     The creation code of a blob:

         PUSH2 SIZE DUP1 PUSH1 10 PUSH0 CODECOPY PUSH0 RETURN STOP    and the text

     `READER` is a contract of 15 bytes that returns a blob's text. It is needed because the compiler copies the code of
     other contracts in constant lengths only:

         PUSH1 1 PUSH0 CALLDATALOAD EXTCODESIZE SUB            size of the text
         DUP1 PUSH1 1 PUSH0 PUSH0 CALLDATALOAD EXTCODECOPY     copy it, without the STOP
         PUSH0 RETURN

     The usual nine bytes in front of that create it:

         PUSH1 15 DUP1 PUSH1 9 PUSH0 CODECOPY PUSH0 RETURN

@custom:risk Blobs hold no coins; a faulty reader would return wrong text.
@custom:mitigation `READER` is fixed in the implementation's code; replacing it is an upgrade.
"""

# @dev The creation code of a blob up to its text, with a size of zero.
PREFIX: constant(bytes11) = 0x61000080600a5f395ff300

READER_CREATION: constant(Bytes[24]) = x"600f8060095f395ff360015f353b038060015f5f353c5ff3"

READER: immutable(address)


@deploy
def __init__():
    READER = raw_create(READER_CREATION)


@internal
@pure
def _creation_prefix(length: uint256) -> bytes11:
    """
    @dev The creation code of a blob up to its text of `length` bytes.
    """
    code: uint256 = convert(PREFIX, uint256) | ((length + 1) << 64)
    return convert(convert(code, uint88), bytes11)
