# SPDX-License-Identifier: Apache-2.0
"""Killed, resumed and reorganised anywhere, an index is the same as one of a single pass, and as the contracts."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from serving_network.chain.reading import AsyncReader
from serving_network.explorer.index import following
from serving_network.explorer.index.opening import reading
from serving_network.store.location import Location
from tests.explorer.index.histories import (
    History,
    Killed,
    Node,
    Town,
    advance,
    differences,
    dump,
    misread,
    play,
    prepared,
    read_all,
)


@pytest.mark.parametrize("seed", [5, 11, 18, 27])
def test_a_random_history(town: Town, tmp_path: Path, seed: int) -> None:
    check(town, *play(town, seed, tmp_path))


def test_a_random_history_in_postgresql(town: Town, tmp_path: Path, location: Location) -> None:
    check(town, *play(town, 9, tmp_path, location))


def check(town: Town, followed: Location, once: Location) -> None:
    assert list(differences(followed, once)) == []
    assert misread(town, followed) == []
    checked = asyncio.run(read_all(town.chain, followed))
    assert checked.agrees, checked
    assert checked.compared["accounts"] > 10
    assert all(one.surplus == 0 for one in checked.coins)
    with reading(followed) as index:
        assert index.oddities().entries == ()


def test_a_step_that_is_killed_while_it_is_written_leaves_nothing(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(History(town, random.Random(1)))
    chain = asyncio.run(AsyncReader.open(town.chain))
    asyncio.run(advance(chain, tmp_path / "once"))
    set_tip = following.Follower._set_tip

    def killed(*_: object) -> None:
        monkeypatch.setattr(following.Follower, "_set_tip", set_tip)
        raise Killed

    monkeypatch.setattr(following.Follower, "_set_tip", killed)
    with pytest.raises(Killed):
        asyncio.run(advance(chain, tmp_path / "killed"))
    assert dump(tmp_path / "killed")["event"] == []
    asyncio.run(advance(chain, tmp_path / "killed"))
    assert list(differences(tmp_path / "killed", tmp_path / "once")) == []


def test_a_chain_that_moves_while_a_step_is_read_is_read_again(town: Town, tmp_path: Path) -> None:
    history = History(town, random.Random(2))
    node = Node(town.chain)
    chain = asyncio.run(AsyncReader.open(node))
    mark = town.chain.request("evm_snapshot", [])
    prepared(history)
    moved: list[str] = []

    def move(method: str, _params: list[object]) -> None:
        if method == "eth_getLogs" and len(node.asked) > 20 and not moved:
            moved.append(method)
            town.chain.request("evm_revert", [mark])
            for _ in range(120):
                history.deposit()

    node.before = move
    asyncio.run(advance(chain, tmp_path / "followed", width=1))
    assert moved
    asyncio.run(advance(chain, tmp_path / "once"))
    assert list(differences(tmp_path / "followed", tmp_path / "once")) == []
    assert asyncio.run(read_all(town.chain, tmp_path / "followed")).agrees
