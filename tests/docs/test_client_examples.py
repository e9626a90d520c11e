# SPDX-License-Identifier: Apache-2.0
"""The Python examples of docs/clients.md run, and leave everybody with their coins."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from serving_network.contracts.build.artifacts import ROOT
from serving_network.localchain.accounts import development_keys
from serving_network.money import WEI_PER_COIN as COIN
from tests.clients.network_fixture import World, deployed_world

PAGE = (ROOT / "docs" / "clients.md").read_text("utf-8")
NODE = "http://127.0.0.1:8545"
EXAMPLES = [one for one in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if NODE in one]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[World, str]]:
    with deployed_world() as world, world.network.served() as url:
        yield world, url


@pytest.mark.parametrize("example", EXAMPLES, ids=["sync", "async", "web3.py"])
def test_an_example_runs(served: tuple[World, str], example: str, capsys: pytest.CaptureFixture[str]) -> None:
    world, url = served
    with world.network.reset_afterwards():
        world.provider.register(world.offer())
        names = {
            "key": development_keys()[3].to_bytes(),
            "provider": world.provider.address,
            "stranger": world.stranger.address,
        }
        exec(compile(example.replace(NODE, url), "docs/clients.md", "exec"), names)
        printed = capsys.readouterr().out
        if "web3" in example:
            assert printed.startswith(f"LedgerNotExists('{world.stranger.address} has no ledger.')")
        else:
            ledger = world.user.ledger(world.user.address)
            assert ledger is not None
            assert (ledger.available, ledger.total) == (0, 2 * COIN)
            assert "has not confirmed this provider" in printed
