# SPDX-License-Identifier: Apache-2.0
"""Signatures over any digest, which no signer of the package makes: to test what contracts and checks accept."""

from __future__ import annotations

from serving_network.wallet.local import LocalTeeSigner


def sign_digest(signer: LocalTeeSigner, digest: bytes) -> bytes:
    """The signature of a signer's key over a digest: 65 bytes r, s, v."""
    return signer._sign_digest(digest)
