# SPDX-License-Identifier: Apache-2.0
"""The random histories of the journal, on PostgreSQL."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from serving_network.store.database import Database
from serving_network.store.location import Location
from tests.postgres import PostgresServer
from tests.settlement.test_journal import JournalMachine


def test_every_step_in_any_order(postgres: PostgresServer) -> None:
    class Machine(JournalMachine):
        lasting: ExitStack
        lasting_reader: Database | None = None

        def new_store(self, path: Path) -> Location:
            return postgres.store(path)

        def reader(self) -> AbstractContextManager[Database]:
            """One that stays connected when the journal's connection is lost: each is a process of the server."""
            if self.lasting_reader is None:
                self.lasting = ExitStack()
                self.lasting_reader = self.lasting.enter_context(super().reader())
            return nullcontext(self.lasting_reader)

        def teardown(self) -> None:
            super().teardown()
            if self.lasting_reader is not None:
                self.lasting.close()

    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=12, stateful_step_count=25, phases=[Phase.generate]),
    )
