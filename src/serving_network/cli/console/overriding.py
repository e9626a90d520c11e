# SPDX-License-Identifier: Apache-2.0
"""Variables that take precedence over the key and the network that the configuration says are in use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from serving_network.cli.console.options import KEY_NAME_VARIABLE, NETWORK_VARIABLE
from serving_network.wallet.keys import KEY_VARIABLE

if TYPE_CHECKING:
    from serving_network.cli.console.output import Output


def note_key_variables(out: Output, in_use: str | None) -> None:
    """Warn if a variable makes commands use another key than the one in use."""
    _note(out, "key", in_use, (KEY_NAME_VARIABLE, KEY_VARIABLE))


def note_network_variable(out: Output, in_use: str) -> None:
    """Warn if the variable makes commands use another network than the one in use."""
    _note(out, "network", in_use, (NETWORK_VARIABLE,))


def _note(out: Output, thing: str, in_use: str | None, variables: tuple[str, ...]) -> None:
    first = next((one for one in variables if os.environ.get(one)), None)
    if first is not None and os.environ[first] != in_use:
        out.note(f"{first} is set, so commands use its {thing}. To use the {thing} in use: unset {first}", "yellow")
