"""`serving key import`"""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from serving_network.cli.context import interruptible
from serving_network.cli.local import JSON, configuration, new_password
from serving_network.cli.output import Output
from serving_network.errors import InvalidInput
from serving_network.untrusted import parse_json
from serving_network.wallet.keys import key_from_stream
from serving_network.wallet.local import LocalSigner


def import_key(
    name: Annotated[str, typer.Argument(help="A name for the key.")],
    keystore: Annotated[
        Path | None, typer.Option(help="An encrypted keystore file of another wallet; its password stays.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Bring in a key: asked for on the terminal, read from standard input, or from a keystore file.

    Example: serving key import main --keystore ./UTC--2026-11-22--f39f
    """
    settings = configuration()
    if keystore is not None:
        signer, password = _from_keystore(keystore)
    elif sys.stdin.isatty():
        with interruptible():
            signer = LocalSigner(getpass.getpass("Private key (not shown): ").strip())
        password = new_password()
    else:
        signer = key_from_stream(sys.stdin)
        password = new_password()
    key = settings.keys.add(name, signer, password)
    if settings.key_in_use is None:
        settings.use_key(name)
    out = Output(as_json)
    out.result({"name": key.name, "address": key.address, "file": str(key.path)})
    out.line(f"{key.name}  {key.address}")


def _from_keystore(path: Path) -> tuple[LocalSigner, str]:
    from serving_network.wallet.keys import decrypt, no_password, password_from_environment

    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is not a keystore.", cause=str(error), next_step="Give another file.") from error
    password = password_from_environment()
    if password is None:
        if not sys.stdin.isatty():
            raise no_password(str(path))
        with interruptible():
            password = getpass.getpass(f"Password of {path.name}: ")
    return decrypt(content, password, str(path)), password
