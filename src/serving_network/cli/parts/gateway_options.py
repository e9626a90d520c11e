# SPDX-License-Identifier: Apache-2.0
"""What the commands of `serving gateway` share: the settings, and the files beside the store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.cli.files.journal import directory, usual_path
from serving_network.errors import ConfigurationError
from serving_network.store.location import Location, beside, located
from serving_network.untrusted import parse_json

if TYPE_CHECKING:
    from serving_network.cli.console.session import Session
    from serving_network.gateway.settings import Settings

SETTINGS = Annotated[Path, typer.Option("--settings", help="The settings file.")]
SET = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting: --set port=3081. Repeatable; so does SERVING_GATEWAY_PORT=3081."),
]
DEFAULT_SETTINGS = Path("gateway.toml")


def chosen_settings(path: Path, changes: list[str] | None, **options: str | int | None) -> Settings:
    """The settings of a command: options over --set over variables over the file. Raises ConfigurationError."""
    from serving_network.gateway.settings import read_settings

    given: dict[str, str] = {}
    for one in changes or ():
        name, equals, value = one.partition("=")
        if not equals:
            raise ConfigurationError(f"{one!r} is not of the form NAME=VALUE.", next_step="Write --set port=3081.")
        given[name.strip()] = value.strip()
    given |= {name: str(value) for name, value in options.items() if value is not None}
    return read_settings(path, os.environ, given)


async def store_of(session: Session, settings: Settings, service: str, journal: str | None) -> Location:
    """The store of the provider in the settings, unless --journal names another one."""
    given = journal or settings.store
    if given is not None:
        return located(given, directory())
    network = await session.reader()
    return usual_path(network.chain.chain_id, (await network.service(service)).address, settings.provider)


def settler_lock(store: Location) -> Path:
    """The lock of the settler that keeps settling this store. It contains its process id."""
    return beside(store, ".settler.lock")


def settler_state(store: Location) -> Path:
    """What the settler did last, as JSON."""
    return beside(store, ".settler.json")


def read_settler_state(store: Location) -> dict[str, Any] | None:
    """What the settler of a store did last; None if there never was one."""
    try:
        found = parse_json(settler_state(store).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
