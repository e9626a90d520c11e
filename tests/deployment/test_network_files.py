# SPDX-License-Identifier: Apache-2.0
"""Which record belongs to a network."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from serving_network.cli.files.networks import record_if_any
from serving_network.deployment.errors import RecordProblem
from serving_network.deployment.record_file import RecordFile

OLD_RECORD = Path(__file__).parent / "data" / "record-0.1.json"
OTHER = "0x000000000000000000000000000000000000dEaD"


def session(ledger: str | None) -> Any:
    return cast("Any", SimpleNamespace(network=SimpleNamespace(name="mine", ledger=ledger)))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    shutil.copy(OLD_RECORD, tmp_path / "mine.json")
    return tmp_path


def test_a_network_without_a_record_has_none(tmp_path: Path) -> None:
    assert record_if_any(session(OTHER), tmp_path) is None


def test_a_record_of_the_configured_ledger_is_used(files: Path) -> None:
    ledger = RecordFile.open(files / "mine.json").record.ledger.front.address
    for configured in (ledger, None):
        found = record_if_any(session(configured), files)
        assert found is not None
        assert found.record.ledger.front.address == ledger


def test_a_record_of_another_ledger_is_refused(files: Path) -> None:
    with pytest.raises(RecordProblem, match="another ledger") as failure:
        record_if_any(session(OTHER), files)
    assert OTHER in str(failure.value.cause)
