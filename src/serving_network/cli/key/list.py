"""`serving key list`"""

from __future__ import annotations

from serving_network.cli.local import JSON, configuration
from serving_network.cli.output import Output


def list_keys(as_json: JSON = False) -> None:
    """List the keys in the key store. Needs no password.

    Example: serving key list
    """
    settings = configuration()
    keys = settings.keys.list()
    out = Output(as_json)
    out.result([{"name": one.name, "address": one.address, "in_use": one.name == settings.key_in_use} for one in keys])
    out.table(
        ("name", "address", "in use"),
        [(one.name, one.address, "yes" if one.name == settings.key_in_use else "") for one in keys],
        empty="There is no key yet: serving key new NAME",
    )
