# SPDX-License-Identifier: Apache-2.0
"""The EVM of tests that compare results and events, but no gas: revm where it is installed."""

from __future__ import annotations

from typing import Final

from tests.evm import Evm
from tests.stateful import revm

FASTEST: Final[type[Evm]] = revm.Revm if revm.available else Evm
