# SPDX-License-Identifier: Apache-2.0
"""Packed lists against Python's."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.contracts import Interface
from tests.evm import Evm
from tests.shared import compile_contract
from tests.unit.contract import Contract

HERE = Path(__file__).parent
PAYLOADS = st.integers(1, 2**224 - 1)
NUMBERS = st.sampled_from([0, 1, 2**160, 2**162 + 5, 2**192 - 1])
ACTIONS = st.one_of(
    st.tuples(st.just("push"), PAYLOADS),
    st.tuples(st.just("push"), PAYLOADS),
    st.tuples(st.just("remove"), st.integers(0, 99)),
    st.tuples(st.just("replace"), PAYLOADS),
)


@cache
def harness() -> tuple[Contract, str]:
    compiled = compile_contract(HERE / "mocks/Lists.vy", HERE.parents[2])
    evm = Evm()
    caller = evm.account("caller")
    address = evm.deploy(compiled.bytecode, sender=caller).created
    assert address is not None
    return Contract(evm, address, Interface(compiled.abi)), caller


@settings(max_examples=60)
@given(actions=st.lists(st.tuples(NUMBERS, ACTIONS), max_size=30))
def test_as_a_list_whose_last_entry_moves_into_every_gap(actions: list[tuple[int, tuple[str, int]]]) -> None:
    lists, caller = harness()
    shadow: dict[int, list[int]] = {}
    with lists.evm.rolled_back():
        for number, (action, argument) in actions:
            entries = shadow.setdefault(number, [])
            if action == "push":
                assert lists.send("push", number, argument, sender=caller).result == len(entries)
                entries.append(argument)
            elif entries and action == "remove":
                position = argument % len(entries)
                last = entries.pop()
                moved = position < len(entries)
                if moved:
                    entries[position] = last
                assert lists.send("remove", number, position, sender=caller).result == (last if moved else 0)
            elif entries:
                position = argument % len(entries)
                entries[position] = argument
                lists.send("replace", number, position, argument, sender=caller)
        for number, entries in shadow.items():
            assert lists.ask("entries", number) == entries


def test_nothing_can_be_removed_from_an_empty_list() -> None:
    lists, caller = harness()
    lists.refused("remove", 1, 0, sender=caller)
