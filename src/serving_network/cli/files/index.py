# SPDX-License-Identifier: Apache-2.0
"""The index of a command: where it is, and what it is of."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from serving_network.errors import ServingError
from serving_network.networks import home
from serving_network.store.location import Location, located

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving_network.chain.reading import AsyncReader
    from serving_network.explorer.index.opening import Subject
    from serving_network.networks import NamedNetwork

INDEX = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="PATH|URL",
        help="The index: a path, or postgresql://USER@HOST/DB. Default: a path by chain and ledger.",
    ),
]

BUILD: Final = "serving index run"


def index_at(given: str | None, network: NamedNetwork) -> Location:
    """The index that is named, or that of the network at its default path."""
    directory = home() / "indexes"
    if given is not None:
        return located(given, directory)
    return directory / f"{network.chain_id}-{network.require_ledger()}.sqlite"


@contextmanager
def named_in_next_steps(given: str | None) -> Iterator[None]:
    """Let the next steps of failures build the index that is named."""
    try:
        yield
    except ServingError as failure:
        if failure.next_step:
            failure.next_step = failure.next_step.replace(BUILD, build(given))
        raise


def build(given: str | None) -> str:
    """The command that builds the index that is named, or that of the network."""
    return BUILD if given is None else f"{BUILD} --index {shlex.quote(given)}"


async def subject_of(chain: AsyncReader, ledger: str) -> Subject:
    """What the index of a ledger on a chain is of."""
    from serving_network.errors import NodeFailure
    from serving_network.explorer.index.opening import Subject

    genesis = await chain.block_hash(0)
    if genesis is None:
        raise NodeFailure("The node did not return the first block.")
    return Subject(chain.chain_id, genesis, ledger)
