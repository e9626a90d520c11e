"""`serving address list`"""

from __future__ import annotations

from serving_network.cli.local import JSON, configuration
from serving_network.cli.output import Output


def list_addresses(as_json: JSON = False) -> None:
    """List the address book.

    Example: serving address list
    """
    book = configuration().addresses()
    out = Output(as_json)
    out.result(book)
    out.table(
        ("name", "address"), list(book.items()), empty="The address book is empty: serving address add NAME 0x..."
    )
