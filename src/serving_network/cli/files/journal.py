# SPDX-License-Identifier: Apache-2.0
"""The journal of a command: its path, what it belongs to, and the lock of a run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.cli.console.session import DEVICE
from serving_network.files import lock
from serving_network.networks import home
from serving_network.store.location import Location, beside, located
from serving_network.store.opening import BUSY, Identity, JournalFailure, copy_journal, exists, identity_of, moved_to

if TYPE_CHECKING:
    from serving_network.cli.console.session import Session
    from serving_network.settlement.journal import Journal
    from serving_network.settlement.live import LiveChain

JOURNAL = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="PATH|URL",
        help="The journal: a path, or postgresql://USER@HOST/DB. Default: a path by chain, contract and provider.",
    ),
]


@dataclass(frozen=True)
class JournalFile:
    """A journal, and what it must belong to."""

    path: Location
    identity: Identity

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock out other runs of the provider. Raises RunInProgress."""
        one = self.identity
        with (
            run_locked(one.chain_id, one.contract, one.provider),
            lock(beside(self.path, ".lock"), BUSY),
        ):
            yield

    @contextmanager
    def opened(self) -> Iterator[Journal]:
        """Open the journal for writing; create it if it does not exist. The caller must hold the lock."""
        from serving_network.settlement.journal import open_journal

        with open_journal(self.path, self.identity) as journal:
            yield journal

    @contextmanager
    def copied(self) -> Iterator[Journal]:
        """Open a temporary copy of the journal, for changes that are not kept."""
        from serving_network.settlement.journal import open_journal

        with ExitStack() as held:
            copy = Path(held.enter_context(tempfile.TemporaryDirectory())) / "journal"
            copy_journal(self.path, copy)
            yield held.enter_context(open_journal(copy, self.identity))

    @contextmanager
    def read(self) -> Iterator[Journal]:
        """Open the journal for reading, even while a run writes it. Raises JournalFailure if it does not exist."""
        from serving_network.settlement.journal import read_journal

        with read_journal(self.path) as journal:
            yield journal

    def require(self) -> None:
        """Raise JournalFailure if there is no journal yet."""
        if not exists(self.path):
            raise JournalFailure(
                f"There is no journal {self.path}.", next_step="Record the usage log first: serving settle USAGE"
            )


@contextmanager
def run_locked(chain_id: int, contract: str, provider: str) -> Iterator[None]:
    """Lock out other runs of a provider, whatever journal they use. Raises RunInProgress."""
    with lock(directory() / f"{_run_name(chain_id, contract, provider)}.lock", BUSY):
        yield


def directory() -> Path:
    """The directory of the journals."""
    return home() / "settlements"


async def journal_of(chain: LiveChain, given: str | None) -> JournalFile:
    """The journal of a provider on a chain: the given one, or at the default path."""
    identity = Identity(chain.chain_id, await chain.block_hash(0) or "", chain.contract, chain.provider)
    path = None if given is None else located(given, directory())
    return JournalFile(path or usual_path(identity.chain_id, identity.contract, identity.provider), identity)


async def existing_journal(
    session: Session, service: str, given: str | None, made_by: str = "serving settle", *, next_step: str | None = None
) -> JournalFile:
    """The journal of the provider given by --key, without unlocking the key. With a given one, no node is needed.

    Raises JournalFailure if it does not exist; `made_by` is the command that makes it. `next_step` takes the
    place of the advice to run that command, where it would do harm.
    """
    path: Location
    if given is None:
        network = await session.reader()
        contract = (await network.service(service)).address
        path = usual_path(network.chain.chain_id, contract, provider_address(session))
    else:
        path = located(given, directory())
    if not exists(path):
        raise JournalFailure(
            f"There is no journal {path}.",
            next_step=next_step or f"Run {made_by} first, or name the journal with --journal.",
        )
    return JournalFile(path, identity_of(path))


def provider_address(session: Session) -> str:
    """The provider's address: --key may be the name of a key, a name in the address book, or an address."""
    if session.key is None or session.key.startswith(DEVICE):
        return session.own_address()
    return session.address(session.key)


def own_store(chain_id: int, contract: str, provider: str) -> Location | None:
    """The provider's journal on this machine, or the database that it was moved to. None if there is none."""
    path = usual_path(chain_id, contract, provider)
    if not path.is_file():
        return None
    database = moved_to(path)
    return path if database is None else located(database, directory())


def usual_path(chain_id: int, contract: str, provider: str) -> Path:
    """The default path of a provider's journal."""
    return directory() / f"{_run_name(chain_id, contract, provider)}.journal"


def _run_name(chain_id: int, contract: str, provider: str) -> str:
    return f"{chain_id}-{contract}-{provider}"


def newest_transaction(journal: Journal) -> str | None:
    """The newest transaction of the newest open batch."""
    batches = journal.open_batches()
    return batches[-1].transactions[-1].hash if batches else None
