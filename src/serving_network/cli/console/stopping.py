# SPDX-License-Identifier: Apache-2.0
"""How a command that runs until it is stopped is stopped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable


def on_stop(stop: Callable[[], object]) -> None:
    """Call `stop` on Ctrl-C and SIGTERM. Needs a running event loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
