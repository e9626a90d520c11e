"""`serving key use`"""

from __future__ import annotations

from serving_network.cli.local import JSON, NAME_OF_KEY, configuration
from serving_network.cli.output import Output


def use(name: NAME_OF_KEY, as_json: JSON = False) -> None:
    """Use this key from now on. It stays locked: its password is asked for when something is signed.

    Example: serving key use main
    """
    settings = configuration()
    settings.use_key(name)
    key = settings.keys.find(name)
    out = Output(as_json)
    out.result({"name": key.name, "address": key.address})
    out.line(f"In use: {key.name}  {key.address}")
