# SPDX-License-Identifier: Apache-2.0
"""The random histories of the journal, on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from serving_network.store.location import Location
from tests.postgres import PostgresServer
from tests.settlement.test_journal import JournalMachine


def test_every_step_in_any_order(postgres: PostgresServer) -> None:
    class Machine(JournalMachine):
        def new_store(self, path: Path) -> Location:
            return postgres.store(path)

    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=12, stateful_step_count=25, phases=[Phase.generate]),
    )
