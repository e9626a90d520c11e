# SPDX-License-Identifier: Apache-2.0
"""Shell completion of names. It reads files only, because a completion must not wait for a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from serving_network.errors import ServingError

if TYPE_CHECKING:
    from serving_network.cli.console.home import Home


def complete_network(incomplete: str) -> list[str]:
    """Names of networks."""
    return _starting(lambda configuration: [one.name for one in configuration.networks()], incomplete)


def complete_key(incomplete: str) -> list[str]:
    """Names of keys."""
    return _starting(lambda configuration: [one.name for one in configuration.keys.list()], incomplete)


def complete_address(incomplete: str) -> list[str]:
    """Names in the address book, and of keys."""
    return _starting(lambda configuration: list(configuration.names()), incomplete)


def complete_service(incomplete: str) -> list[str]:
    """The service types of the network."""
    return [name for name in ("inference", "fine-tuning") if name.startswith(incomplete)]


def _starting(names: Callable[[Home], list[str]], incomplete: str) -> list[str]:
    from serving_network.cli.console.home import Home

    try:
        return [name for name in names(Home.open()) if name.startswith(incomplete)]
    except ServingError:
        return []
