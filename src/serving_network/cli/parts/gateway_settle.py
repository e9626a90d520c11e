# SPDX-License-Identifier: Apache-2.0
"""`serving gateway settle`: settle what the gateway serves, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving_network.cli.console.arguments import INFERENCE_SERVICE
from serving_network.cli.console.command import settles
from serving_network.cli.console.session import Session
from serving_network.cli.console.stopping import on_stop
from serving_network.cli.console.tee_key import tee_of
from serving_network.cli.files.journal import JOURNAL, JournalFile, journal_of
from serving_network.cli.parts.gateway_options import (
    DEFAULT_SETTINGS,
    SET,
    SETTINGS,
    chosen_settings,
    settler_lock,
    settler_state,
)
from serving_network.errors import KeyFailure
from serving_network.files import SHORT_WAIT, lock, write_whole
from serving_network.gateway.logs import logging_to, settler_log
from serving_network.money import parse_wei
from serving_network.settlement.options import Options
from serving_network.store.served import summarise

if TYPE_CHECKING:
    from serving_network.gateway.settings import Settings
    from serving_network.messages.tee_signing import AttestedSigner
    from serving_network.settlement.live import LiveChain
    from serving_network.settlement.report import Report


@settles
async def settle(
    session: Session,
    settings: SETTINGS = DEFAULT_SETTINGS,
    changes: SET = None,
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
) -> None:
    """Settle what the gateway serves, again and again, until Ctrl-C or SIGTERM.

    It settles every settle_seconds, when settle_above is reached, and on SIGUSR1. This process has the wallet's key
    and no listener; the TEE key is read from SERVING_TEE_KEY, or from dstack. serving gateway run --settle-key
    starts it for you.

    Example: serving gateway settle --key provider
    """
    from serving_network.settlement.live import LiveChain

    chosen = chosen_settings(settings, changes)
    if session.key is None and not session.key_from_input:
        session.key = chosen.settle_key
    chain = await LiveChain.open(
        await session.chain(), session.signer(), session.network.require_ledger(), service=service
    )
    if chain.provider != chosen.provider:
        raise KeyFailure(
            f"The key belongs to {chain.provider}, but the gateway's provider is {chosen.provider}.",
            next_step="Use the provider's key: --key NAME",
        )
    file = await journal_of(chain, journal or chosen.store)
    tee = await tee_of(chosen.signer, chosen.dstack_endpoint, chosen.dstack_key_path)
    work = _Settling(chain, file, tee.signer, chosen, session.sending.max_fee)
    on_stop(work.repeating.stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, work.repeating.asked.set)
    with (
        lock(settler_lock(file.path), "Another settler of this store is running.", wait=SHORT_WAIT),
        logging_to(_log_beside(chosen)),
    ):
        session.out.line(f"Settling {file.path} every {chosen.settle_seconds} seconds. Press Ctrl-C to stop.")
        await work.repeating.keep_settling()


class _Settling:
    """The runs of one settler."""

    def __init__(
        self, chain: LiveChain, file: JournalFile, tee: AttestedSigner, settings: Settings, max_fee: int | None
    ) -> None:
        from serving_network.settlement.repeating import Repeating

        most = max_fee
        if most is None:
            most = Options.max_gas_price if settings.settle_max_fee is None else parse_wei(settings.settle_max_fee)
        self._chain = chain
        self._file = file
        self._tee = tee
        self._options = Options(max_gas_price=most, interval=settings.settle_seconds)
        self._above = None if settings.settle_above is None else parse_wei(settings.settle_above)
        self._left = 0
        self.repeating = Repeating(self._run, settings.settle_seconds, is_due=self._is_due, publish=self._publish)

    async def _run(self) -> Report:
        from serving_network.settlement.runner import Settlement

        with self._file.locked(), self._file.opened() as journal:
            report = await Settlement(self._chain, journal, self._tee, self._options).run(None)
        self._left = report.unsettled
        return report

    def _is_due(self) -> bool:
        """Whether more than the threshold was served since the last run. What that run had to leave does not count."""
        return self._above is not None and summarise(self._file.path).unsettled - self._left >= self._above

    def _publish(self, state: dict[str, Any]) -> None:
        write_whole(settler_state(self._file.path), json.dumps(state))


def _log_beside(settings: Settings) -> Path | None:
    return None if settings.log_file is None else settler_log(Path(settings.log_file))
