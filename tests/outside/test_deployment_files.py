# SPDX-License-Identifier: Apache-2.0
"""A network's record after a merge, an edit by hand or on another chain: nothing is done with an invalid record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_utils import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.chain.connection import AsyncConnection, Connection
from serving_network.contracts.models import Offer
from serving_network.deployment.books import recorded_books
from serving_network.deployment.calls import step_data
from serving_network.deployment.check import check_record
from serving_network.deployment.errors import PlanRefused, RecordProblem
from serving_network.deployment.genesis import check_chain
from serving_network.deployment.instructions import write_files
from serving_network.deployment.local import deploy_local_network
from serving_network.deployment.ownership import ownerships, plan_transfer
from serving_network.deployment.record import Record
from serving_network.deployment.record_file import RecordFile
from serving_network.deployment.steps import known_addresses
from serving_network.errors import NodeFailure, ServingError, WrongChain
from serving_network.localchain import EmbeddedChain
from serving_network.money import WEI_PER_COIN
from serving_network.testing import LocalNetwork
from tests.outside.clear import done_or_clear, is_clear
from tests.outside.nodes import Scripted

NOBODY = "0x" + "11" * 20
OTHER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


@dataclass(frozen=True)
class Standing:
    """A network with a provider and a user, and its record."""

    chain: EmbeddedChain
    record: Record


@pytest.fixture(scope="module")
def standing() -> Iterator[Standing]:
    chain = EmbeddedChain()
    with Connection.open(chain) as connection:
        record = connection.runner.run(deploy_local_network(connection.core, LocalNetwork.signer(0)))
        network = LocalNetwork(chain, connection)
        network.provider(1).register(Offer("chatbot", "https://a", "m", "TeeML", 1, 2, "", to_checksum_address(OTHER)))
        network.owner.confirm(network.provider(1).address)
        network.user(3).open_ledger(10 * WEI_PER_COIN)
        network.user(3).fund(network.provider(1).address, 5 * WEI_PER_COIN)
        yield Standing(chain, record)


@pytest.fixture(scope="module")
def whole(standing: Standing) -> dict[str, Any]:
    """The record with unfinished work and an instruction, as written by the program."""
    record = standing.record

    async def prepare() -> Record:
        async with await AsyncConnection.open(standing.chain) as chain:
            plan = await plan_transfer(chain, record, record.deployer, OTHER, names=["ledger"], two_steps=True)
            data = step_data(plan.steps[0], known_addresses(record))
            first = await chain.prepare(LocalNetwork.signer(0), record.ledger.front.address, data)
            second = await chain.replace(LocalNetwork.signer(0), first)
        changed = record.model_copy(deep=True)
        content = json.loads(changed.model_dump_json())
        entries = [json.loads(step.model_dump_json()) for step in plan.steps]
        entries[0]["attempts"] = [{"sender": one.sender, "raw": "0x" + one.raw.hex()} for one in (first, second)]
        content["pending"] = {
            "what": "handover",
            "sender": record.deployer,
            "subject": record.network,
            "steps": entries,
        }
        content["instructions"] = [
            {
                "id": "ledger/business-acceptOwnership",
                "says": "accept",
                "sender": OTHER,
                "to": record.ledger.front.address,
                "contract": "LedgerManager",
                "function": "acceptOwnership",
                "arguments": [],
                "data": "0x79ba5097",
                "subject": "ledger",
                "done_in": None,
            }
        ]
        return Record.model_validate_json(json.dumps(content))

    content: dict[str, Any] = json.loads(asyncio.run(prepare()).model_dump_json())
    return content


def changed(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The content with the value at a path like "contracts.ledger.owner" replaced; `...` removes it."""
    copy: dict[str, Any] = json.loads(json.dumps(content))
    *way, last = path.split("/")
    place: Any = copy
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    key: Any = int(last) if isinstance(place, list) else last
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return copy


def loaded(tmp_path: Path, content: dict[str, Any] | str) -> Record:
    path = tmp_path / "net.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return RecordFile.open(path).record


def test_the_undamaged_record_is_valid(tmp_path: Path, whole: dict[str, Any]) -> None:
    assert loaded(tmp_path, whole).pending is not None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("chain_id", 0),
        ("chain_id", 31337.0),
        ("genesis", "0x12"),
        ("deployer", NOBODY.upper()),
        ("contracts/ledger", ...),
        ("contracts/ledger/owner", OTHER.lower()),
        ("contracts/ledger/owner", OTHER.swapcase()),
        ("contracts/ledger/upgrade_owner", "deployer"),
        ("contracts/ledger/front/address", OTHER[:-1]),
        ("contracts/ledger/front/mined/block", -1),
        ("contracts/ledger/front/mined/transaction", "0x"),
        ("contracts/ledger/front/contract", "LedgerManager"),
        ("contracts/ledger/beacon/contract", "Beacon"),
        ("contracts/ledger/implementation/contract", "InferenceServing"),
        ("contracts/ledger/implementation/contract", "../../etc/passwd"),
        ("contracts/ledger/implementation/storage_layout", {"storage_layout": {"a": 5}}),
        ("contracts/ledger/implementation/storage_layout", {"storage_layout": {"a": {"slot": "x", "type": 1}}}),
        ("contracts/ledger/implementation/artifact_hash", "0x" + "AB" * 32),
        ("contracts/inference-v1.0/initial", {}),
        ("contracts/inference-v1.0/initial/locktime", "a day"),
        ("contracts/inference-v1.0/implementation/contract", "LedgerManager"),
        ("pending/steps", []),
        ("pending/sender", "somebody"),
        ("pending/steps/0/contract", "Nothing"),
        ("pending/steps/0/function", "withdrawEverything"),
        ("pending/steps/0/function", None),
        ("pending/steps/0/function", "upgradeTo"),
        ("pending/steps/0/to", "@ledger/back"),
        ("pending/steps/0/to", None),
        ("pending/steps/0/arguments", []),
        ("pending/steps/0/arguments", [OTHER.swapcase()]),
        ("pending/steps/0/arguments", ["@nowhere/front"]),
        ("pending/steps/0/attempts/0/nonce", 4),
        ("pending/steps/0/attempts/0/raw", "0x0"),
        ("pending/steps/0/attempts/0/raw", "deadbeef"),
        ("pending/steps/0/attempts/0/gas", 2**70),
        ("pending/steps/0/attempts/0/hash", "0x" + "ab" * 32),
        ("pending/steps/0/attempts/0/sender", OTHER),
        ("pending/steps/1/attempts", [{"raw": "0x02"}]),
        ("instructions/0/data", "0x00000000"),
        ("instructions/0/function", "selfdestruct"),
        ("instructions/0/subject", "nothing"),
        ("instructions/0/to", "0x0"),
        ("instructions/0/contract", "Nothing"),
    ],
)
def test_an_invalid_record_is_refused_with_the_position(
    tmp_path: Path, whole: dict[str, Any], path: str, value: Any
) -> None:
    with pytest.raises(RecordProblem, match="is damaged at") as problem:
        loaded(tmp_path, changed(whole, path, value))
    is_clear(problem.value)
    assert path.split("/")[0] in str(problem.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"chain_id": 31337', '"chain_id": 31337, "chain_id": 16602', 1),
        lambda text: text.replace('"genesis"', '"deployer": "0x", "genesis"', 1),
        lambda text: "<<<<<<< ours\n" + text,
        lambda text: text.replace("31337", "NaN", 1),
        lambda text: text.replace("31337", "1e400", 1),
        lambda text: text + text,
        lambda _: "[" * 100_000,
        lambda _: "null",
        lambda _: "\0" * 100,
    ],
    ids=["a key twice", "another twice", "a merge", "no number", "a huge one", "twice", "deep", "null", "NUL bytes"],
)
def test_a_record_with_ambiguous_or_invalid_json_is_refused(
    tmp_path: Path, whole: dict[str, Any], damage: Callable[[str], str]
) -> None:
    with pytest.raises(RecordProblem, match="is damaged at") as problem:
        loaded(tmp_path, damage(json.dumps(whole)))
    is_clear(problem.value)


def test_a_record_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordProblem) as problem:
        RecordFile.open(tmp_path)
    is_clear(problem.value)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 2**70),
    st.text(max_size=5),
    st.sampled_from([OTHER, "0x", "@ledger/front"]),
)


@settings(max_examples=80)
@given(data=st.data())
def test_a_record_with_one_changed_value_is_refused_or_usable(
    tmp_path_factory: pytest.TempPathFactory, whole: dict[str, Any], standing: Standing, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("networks")
    way: list[str] = []
    place: Any = whole
    while isinstance(place, dict | list) and place and (not way or data.draw(st.integers(0, 5))):
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        way.append(str(key))
        place = place[key]
    content = changed(whole, "/".join(way), data.draw(st.one_of(st.just(...), SCALARS)))
    record = done_or_clear(lambda: loaded(folder, content))
    if record is None:
        return

    async def work_with(found: Record) -> None:
        async with await AsyncConnection.open(standing.chain) as chain:
            await check_record(chain, found, deep=False)
            await ownerships(chain, found)
            await recorded_books(chain, found)

    done_or_clear(lambda: asyncio.run(work_with(record)))
    done_or_clear(lambda: write_files(record.open_instructions, record, folder / "out", created_at_ms=1))


# Against the chain


def test_a_record_of_another_chain_is_refused(standing: Standing) -> None:
    record = standing.record

    async def check(chain: Any, against: Record) -> None:
        async with await AsyncConnection.open(chain) as connection:
            await check_chain(connection, against)

    asyncio.run(check(standing.chain, record))
    with pytest.raises(WrongChain) as wrong:
        asyncio.run(check(EmbeddedChain(chain_id=5), record))
    is_clear(wrong.value)
    with pytest.raises(PlanRefused, match="another chain with the id") as other:
        asyncio.run(check(EmbeddedChain(genesis_time=5), record))
    is_clear(other.value)


def books(standing: Standing, change: Callable[[str, list[Any], Any], Any]) -> Any:
    async def work() -> Any:
        async with await AsyncConnection.open(Scripted(standing.chain, change), attempts=1) as chain:
            return await recorded_books(chain, standing.record)

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("method", "lie"),
    [
        ("eth_call", lambda _: "0x"),
        ("eth_call", lambda found: found[: len(found) // 2]),
        ("eth_getStorageAt", lambda _: "0x"),
        ("eth_getStorageAt", lambda found: found[:-2]),
        ("eth_getBalance", lambda _: None),
        ("eth_getBalance", lambda _: "0x"),
        ("eth_blockNumber", lambda _: "-0x1"),
    ],
)
def test_books_need_complete_answers(standing: Standing, method: str, lie: Callable[[Any], Any]) -> None:
    entries = books(standing, lambda _, __, found: found)
    assert (entries.total, entries.services[0].stakes) == (10 * WEI_PER_COIN, 100 * WEI_PER_COIN)
    with pytest.raises(NodeFailure) as failure:
        books(standing, lambda asked, _, found: lie(found) if asked == method else found)
    is_clear(failure.value)


def test_a_failed_write_keeps_the_old_record(tmp_path: Path, whole: dict[str, Any]) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(whole))
    before = path.read_bytes()
    file = RecordFile.open(path)
    with pytest.raises(ServingError), file.locked(), RecordFile(path, file.record).locked():
        pass
    with pytest.raises(ValueError, match="address"):
        file.record.deployer = "nobody"
    assert path.read_bytes() == before
