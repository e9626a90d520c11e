# SPDX-License-Identifier: Apache-2.0
"""The key of a development TEE, from the environment."""

from __future__ import annotations

import os
from typing import Final

from serving_network.errors import KeyFailure
from serving_network.wallet.local import LocalTeeSigner

TEE_KEY_VARIABLE: Final = "SERVING_TEE_KEY"


def tee_key_from_environment(next_step: str = f"Set {TEE_KEY_VARIABLE}.") -> LocalTeeSigner:
    """The signer with the key in SERVING_TEE_KEY. Raises KeyFailure."""
    text = os.environ.get(TEE_KEY_VARIABLE, "").strip()
    if not text:
        raise KeyFailure("There is no TEE key to sign with.", next_step=next_step)
    try:
        return LocalTeeSigner(bytes.fromhex(text.removeprefix("0x")))
    except ValueError:
        raise KeyFailure(
            f"{TEE_KEY_VARIABLE} is not a private key.", next_step="Set it to 64 hexadecimal digits."
        ) from None
