# SPDX-License-Identifier: Apache-2.0
"""An explorer beside a local network: its index is temporary, since the chain may be new at the next start."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from serving_network.chain.reading import AsyncReader
from serving_network.deployment.local import LOCAL
from serving_network.errors import NodeFailure
from serving_network.explorer.index.opening import Subject
from serving_network.explorer.keeping import kept_up
from serving_network.explorer.web.serving import served
from serving_network.explorer.web.site import Source
from serving_network.networks import BUILT_IN

EVERY: Final = 1.0
"""Seconds between two looks at the chain."""


@asynccontextmanager
async def explored(
    url: str, port: int, own: Mapping[Any, Any] | None = None, names: Mapping[str, str] | None = None
) -> AsyncIterator[str]:
    """Show the local network at `url` on a port of this machine while the block runs. Yields the explorer's URL."""
    ledger = BUILT_IN["local"].require_ledger()
    opened = partial(AsyncReader.open, url, LOCAL.chain_id)
    async with await opened() as chain:
        genesis = await chain.block_hash(0)
    if genesis is None:
        raise NodeFailure("The node did not return the first block.")
    with tempfile.TemporaryDirectory(prefix="serving-index-") as directory:
        index = Path(directory) / "index.sqlite"
        source = Source(index, "local", names or {}, own or {})
        async with (
            kept_up(index, Subject(LOCAL.chain_id, genesis, ledger), opened, EVERY),
            served(source, port=port) as explorer,
        ):
            yield explorer
