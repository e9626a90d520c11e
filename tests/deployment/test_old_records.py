# SPDX-License-Identifier: Apache-2.0
"""A record of release 0.1 is resumed by this release.

`data/record-0.1.json` was written by release 0.1: a ledger, and a hand-over to another owner that was killed after its
second transaction was sent. Each attempt describes its transaction instead of naming the sender.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serving_network.chain.connection import AsyncConnection
from serving_network.deployment.engine import RunOptions, carry_out
from serving_network.deployment.errors import RecordProblem
from serving_network.deployment.local import LOCAL
from serving_network.deployment.ownership import plan_transfer
from serving_network.deployment.plan import Done
from serving_network.localchain import EmbeddedChain

from .conftest import Bench, new_bench

OLD = Path(__file__).parent / "data" / "record-0.1.json"
GENESIS = 1_790_000_000


@pytest.fixture
def begun(tmp_path: Path) -> Bench:
    """The old record, and a chain on which the ledger is deployed and the first transaction of the hand-over mined."""
    bench = new_bench(EmbeddedChain(genesis_time=GENESIS), tmp_path)
    bench.deploy(LOCAL.model_copy(update={"services": ()}))
    bench.chain.request("eth_sendRawTransaction", [old_attempts()[0]["raw"]])
    bench.path.write_bytes(OLD.read_bytes())
    return bench


def old_attempts() -> list[dict[str, Any]]:
    steps = json.loads(OLD.read_text())["pending"]["steps"]
    return [attempt for step in steps for attempt in step["attempts"]]


def test_what_the_old_record_describes_is_decoded_from_its_transactions(begun: Bench) -> None:
    pending = begun.record().pending
    assert pending is not None
    loaded = [attempt.signed for step in pending.steps for attempt in step.attempts]
    assert [(one.hash, one.nonce, one.gas, one.max_fee_per_gas) for one in loaded] == [
        (one["hash"], one["nonce"], one["gas"], one["max_fee_per_gas"]) for one in old_attempts()
    ]
    assert {one.sender for one in loaded} == {begun.owner.address}


def test_it_is_written_back_with_the_sender_and_the_raw_bytes_only(begun: Bench) -> None:
    begun.file().save()
    steps = json.loads(begun.path.read_text())["pending"]["steps"]
    assert [attempt for step in steps for attempt in step["attempts"]] == [
        {"sender": begun.owner.address, "raw": one["raw"]} for one in old_attempts()
    ]


def test_its_work_is_finished_with_the_very_same_transactions(begun: Bench) -> None:
    async def resume(chain: AsyncConnection) -> Done:
        file = begun.file()
        plan = await plan_transfer(chain, file.record, begun.owner.address, begun.upgrade_owner.address, two_steps=True)
        return await carry_out(chain, begun.owner, file, plan, RunOptions(timeout=5))

    done = begun.run(resume)
    assert [step.mined and step.mined.transaction for step in done.steps] == [one["hash"] for one in old_attempts()]
    assert begun.record().pending is None


@pytest.mark.parametrize("name", ["nonce", "gas", "max_fee_per_gas", "max_priority_fee_per_gas"])
def test_a_description_that_is_not_the_transactions_is_refused(begun: Bench, name: str) -> None:
    content = json.loads(OLD.read_text())
    content["pending"]["steps"][1]["attempts"][0][name] += 1
    begun.path.write_text(json.dumps(content))
    with pytest.raises(RecordProblem, match=f"the signed transaction has another {name}"):
        begun.record()


def test_the_transaction_of_another_step_is_refused(begun: Bench) -> None:
    content = json.loads(OLD.read_text())
    first, second = content["pending"]["steps"]
    first["attempts"] = second["attempts"]
    begun.path.write_text(json.dumps(content))
    with pytest.raises(RecordProblem, match="its signed transaction has another to than the step"):
        begun.record()
