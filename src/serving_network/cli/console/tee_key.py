# SPDX-License-Identifier: Apache-2.0
"""The TEE key to sign with: from the environment, from the key store, or from dstack."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from serving_network.cli.console.complete import complete_key
from serving_network.errors import InvalidInput, KeyFailure
from serving_network.wallet.local import LocalSigner, LocalTeeSigner

if TYPE_CHECKING:
    from serving_network.cli.console.session import Session
    from serving_network.messages.tee_signing import AttestedSigner

TEE_KEY_VARIABLE: Final = "SERVING_TEE_KEY"
DSTACK: Final = "dstack:"

TEE_KEY = Annotated[
    str | None,
    typer.Option(
        "--tee-key",
        help=f"The name of the TEE key, or {DSTACK}PATH for one of dstack. Default: the key in {TEE_KEY_VARIABLE}.",
        autocompletion=complete_key,
    ),
]


@dataclass(frozen=True)
class Tee:
    """A TEE signer, and what asks the TEE for its report; None for a key that is not in a TEE."""

    signer: AttestedSigner
    report: Callable[[], Awaitable[bytes]] | None = None


async def tee_of(signer: str, endpoint: str | None = None, key_path: str | None = None) -> Tee:
    """The signer that a gateway's settings name. Raises KeyFailure, ConfigurationError and InvalidInput."""
    if signer == "local":
        return Tee(tee_key_from_environment())
    if signer != "dstack":
        raise InvalidInput(f"{signer!r} is not a TEE signer.", next_step="Use local or dstack.")
    from serving_network.wallet.dstack import KEY_PATH, find_dstack

    dstack = find_dstack(endpoint)
    key = await dstack.signer(key_path or KEY_PATH)
    return Tee(key, lambda: dstack.report(key.address))


async def tee_signer(session: Session, name: str | None) -> AttestedSigner:
    """The signer that --tee-key names. Raises KeyFailure and ConfigurationError."""
    if name is None:
        return tee_key_from_environment(f"Set {TEE_KEY_VARIABLE} or add --tee-key NAME.")
    if name.startswith(DSTACK):
        return (await tee_of("dstack", key_path=name.removeprefix(DSTACK))).signer
    signer = session.unlock(name)
    if not isinstance(signer, LocalSigner):
        raise KeyFailure(f"The key {name!r} cannot sign settlements.", next_step="Name a key in the key store.")
    return signer.as_tee_signer()


NEW_KEY: Final = f"export {TEE_KEY_VARIABLE}=0x$(openssl rand -hex 32)"


def tee_key_from_environment(
    next_step: str = f"Set {TEE_KEY_VARIABLE} to the key. To make one for development: {NEW_KEY}",
) -> LocalTeeSigner:
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
