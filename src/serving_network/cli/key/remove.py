"""`serving key remove`"""

from __future__ import annotations

from serving_network.cli.local import JSON, NAME_OF_KEY, YES, configuration, confirm
from serving_network.cli.output import Output


def remove(name: NAME_OF_KEY, yes: YES = False, as_json: JSON = False) -> None:
    """Delete a key's file. Whoever has no copy of it loses the coins of its address.

    Example: serving key remove old
    """
    settings = configuration()
    key = settings.keys.find(name)
    confirm(f"This deletes the key of {key.address}. Without a copy of {key.path} its coins are lost.", yes)
    settings.keys.remove(name)
    if settings.key_in_use == name:
        settings.use_key(None)
    out = Output(as_json)
    out.result({"removed": key.name, "address": key.address})
    out.line(f"Removed {key.name}  {key.address}")
