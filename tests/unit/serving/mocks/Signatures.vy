# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title The signature check alone
@notice Shows what the module accepts where a contract's own checks would come first.
@dev How money is lost here: no coins; it is for tests only.
     How the owner prevents it: by not using it.
"""

from contracts.serving import tee


@external
@view
def domain(name: String[32]) -> bytes32:
    return tee._domain(keccak256(name))


@external
@view
def signedBy(signer: address, digest: bytes32, signature: Bytes[tee.MAX_SIGNATURE]) -> bool:
    return tee._signed_by(signer, digest, signature)
