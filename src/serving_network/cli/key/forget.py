"""`serving key forget`"""

from __future__ import annotations

from serving_network.cli.local import JSON, configuration
from serving_network.cli.output import Output


def forget(as_json: JSON = False) -> None:
    """Use no key from now on. No key is removed.

    Example: serving key forget
    """
    configuration().use_key(None)
    out = Output(as_json)
    out.result({"name": None})
    out.line("No key is in use.")
