# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C while a command runs: one outcome, whatever was being awaited."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Sequence
from typing import Any

from serving_network.cli.console.output import EXIT_INTERRUPTED
from serving_network.counting import count
from serving_network.errors import TransactionFailure

CANCEL_AGAIN = 0.5  # seconds until a command that did not end is cancelled again


class Interrupted(TransactionFailure):
    """The command was interrupted. `transaction` is what was sent and not yet seen mined."""

    exit_code = EXIT_INTERRUPTED

    def __init__(self, sent: str | None, completed: Sequence[str]) -> None:
        mined = f"Mined before: {', '.join(completed)}." if completed else None
        if sent is None:
            before = f" Completed before: {count(len(completed), 'transaction')}." if completed else ""
            super().__init__(f"Interrupted. No transaction is pending.{before}", cause=mined)
        else:
            super().__init__(
                f"Interrupted. This transaction was signed and may have been sent: {sent}",
                transaction=sent,
                cause="A transaction that was sent can still take effect." + (f" {mined}" if mined else ""),
                next_step=f"serving transaction show {sent}",
            )


class CtrlC:
    """Handle Ctrl-C while a command runs: cancel the command until it ends, then report an interruption.

    The event loop's own handler cancels only once. What is being awaited at that moment may swallow the cancellation or
    raise another error. After the command's last step, that handler also breaks the loop's clean-up.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._former: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: asyncio.Task[None] | None = None

    def __enter__(self) -> CtrlC:
        if threading.current_thread() is threading.main_thread():
            self._former = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)

    async def cancels(self, work: asyncio.Task[None]) -> None:
        """Wait for `work`, and cancel it on Ctrl-C. Clean-up after `work` is not cancelled."""
        self._work, self._loop = work, asyncio.get_running_loop()
        if self.pressed:
            self._cancel()
        try:
            await asyncio.wait({work})
            work.result()
        finally:
            self._work = self._loop = None
            if work.done() and not work.cancelled():
                work.exception()  # retrieved here, because Ctrl-C at a prompt may have ended the loop around both tasks

    def _press(self, *_: object) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._work is not None and not self._work.done():
            self._work.cancel()
            self._work.get_loop().call_later(CANCEL_AGAIN, self._cancel)
