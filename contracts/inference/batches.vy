# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Typed message of a batch
@custom:contract-name batches
@license Apache-2.0
@author Serving Network maintainers
@notice One EIP-712 signature for many users: a `TEESettlementBatch` names the provider and contains an array of
        `UserSettlement`. In calldata a row is compact: the user's address and the fee in wei share one word. The signed
        message has named fields, so wallets can display it and auditors can read it.
@dev A compiled loop that hashes the rows would exceed the gas budget of a batch, so a contract of 98 bytes does it. It
     receives the calldata of `settleBatchWithTEE` unchanged, reads the rows where the ABI places them, and returns the
     hash of the array: the keccak256 of the concatenated keccak256 hashes of the rows.

         PUSH32 ROW_TYPEHASH PUSH0 MSTORE              memory 0x00: the type hash, for every row
         PUSH1 4 CALLDATALOAD PUSH1 4 ADD              at
         DUP1 CALLDATALOAD PUSH1 96 MUL                size at
         SWAP1 PUSH1 32 ADD                            row size
         SWAP1 DUP2 ADD SWAP1                          row end
         JUMPDEST                                      next:
         PUSH1 20 DUP2 PUSH1 0x2c CALLDATACOPY         memory 0x20: the user, on the right of its word
         PUSH1 76 DUP2 PUSH1 20 ADD                    memory 0x40: the fee, likewise; 0x60: nonce;
         PUSH1 0x54 CALLDATACOPY                       0x80: requestsHash
         PUSH1 0xa0 PUSH0 SHA3                         hash row end
         MSIZE MSTORE                                  behind the hashes before it, which begin at 0xa0
         PUSH1 96 ADD                                  row end
         DUP2 DUP2 LT PUSH1 NEXT JUMPI                 until the row is the end
         PUSH1 0xa0 DUP1 MSIZE SUB                     size 0xa0
         SWAP1 SHA3                                    hash
         PUSH0 MSTORE PUSH1 32 PUSH0 RETURN

     The usual nine bytes in front of that create it:

         PUSH1 98 DUP1 PUSH1 9 PUSH0 CODECOPY PUSH0 RETURN

@custom:risk A hash that omitted something would make a signature valid for rows that nobody signed.
@custom:mitigation The hasher is fixed in the implementation's code. Tests compare it with typed data from other
        implementations, for every number of rows.
"""

BATCH_TYPEHASH: constant(bytes32) = keccak256(
    "TEESettlementBatch(address provider,UserSettlement[] settlements)UserSettlement(address user,uint256 totalFee,uint256 nonce,bytes32 requestsHash)"
)
ROW_TYPEHASH: constant(bytes32) = keccak256(
    "UserSettlement(address user,uint256 totalFee,uint256 nonce,bytes32 requestsHash)"
)

HASHER: immutable(address)


@deploy
def __init__():
    HASHER = raw_create(
        concat(
            x"60628060095f395ff37f",
            ROW_TYPEHASH,
            x"5f52600435600401803560600290602001908101905b601481602c37604c8160140160543760a05f20595260600181811060365760a080590390205f5260205ff3",
        )
    )


@internal
@view
def _struct_hash(provider: address) -> bytes32:
    """
    @dev The struct hash of the message that the calldata of `settleBatchWithTEE` and its caller represent.
    """
    rows: Bytes[32] = raw_call(HASHER, msg.data, max_outsize=32, is_static_call=True)
    return keccak256(abi_encode(BATCH_TYPEHASH, provider, convert(rows, bytes32)))
