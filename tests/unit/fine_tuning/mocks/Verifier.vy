# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title The verifier by itself
@notice Judges a signature without the checks that come before it in a settlement.
@dev How money is lost here: there is none; it is for tests only.
     Its owner has nothing to stop.
"""

from contracts.fine_tuning import verifier


@external
@view
def signedBy(signer: address, message: verifier.VerifierInput) -> bool:
    """
    @notice Whether `signer` signed this message for this contract on this chain.
    """
    return verifier._signed_by(signer, message)
