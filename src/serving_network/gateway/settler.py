# SPDX-License-Identifier: Apache-2.0
"""The settler as a child of the gateway: another process, which alone has the wallet's key.

It has a session of its own, so Ctrl-C reaches the gateway only, and it outlives a gateway that crashes. If it ends, it
is started again, after a pause that doubles up to five minutes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from serving_network.untrusted import reason_of

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 300.0
STOP_SECONDS: Final = 30.0

_LOG = logging.getLogger("serving_network.gateway")


class SettlerProcess:
    """A command that is kept running with this environment."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], first_pause: float = FIRST_PAUSE
    ) -> None:
        self._command = command
        self._environment = environment
        self._first_pause = first_pause
        self._process: asyncio.subprocess.Process | None = None

    @property
    def runs(self) -> bool:
        """Whether the process runs now."""
        return self._process is not None and self._process.returncode is None

    async def keep_running(self) -> None:
        """Start the process, and again whenever it ends, until cancelled."""
        loop, pause = asyncio.get_running_loop(), self._first_pause
        while True:
            began = loop.time()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    env=dict(self._environment),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                )
                ending = f"exit code {await self._process.wait()}"
            except OSError as error:
                ending = reason_of(error)
            if loop.time() - began > LONGEST_PAUSE:
                pause = self._first_pause
            _LOG.error("the settler ended (%s) and is started again in %.0f s", ending, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def stop(self) -> None:
        """Ask the process to stop, and kill it if it does not. A run can be killed at any moment."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def kept_running(settler: SettlerProcess) -> AsyncIterator[SettlerProcess]:
    """Keep a settler running while the block runs."""
    keeping = asyncio.create_task(settler.keep_running())
    try:
        yield settler
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await settler.stop()
