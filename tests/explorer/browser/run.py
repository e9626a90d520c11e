# SPDX-License-Identifier: Apache-2.0
"""Look at the explorer in Chromium: `make test-browser`.

It needs node, npm and Chromium (Debian's package chromium), and is not part of `make test`, which must pass with Python
alone. Every page is opened wide and narrow, light and dark, and without JavaScript, on an index with a hostile
provider; axe looks for what keeps people from reading it. Screenshots are in tests/explorer/browser/screenshots. With
--write, it also writes the pictures of README and docs.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[3]))

from serving_network.explorer.web.serving import served
from serving_network.explorer.web.site import Source, bill_pages, gateway_pages
from tests.explorer.web.own_machine import bills_with_receipts, gateway_state, store_of_gateway
from tests.explorer.web.synthetic import HOSTILE, INFERENCE, NOW, PROVIDER, USER, Size, address, build

HERE = Path(__file__).parent
IMAGES = HERE.parents[2] / "docs" / "images"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def paths_of(index: Path) -> dict[str, str]:
    """The pages by name."""
    db = sqlite3.connect(index)
    ((batch, tx, block),) = db.execute("SELECT position, tx, position >> 20 FROM batch ORDER BY position DESC LIMIT 1")
    db.close()
    return {
        "network": "/", "providers": "/providers", "provider": f"/provider/{PROVIDER}",
        "hostile": f"/provider/{HOSTILE}",
        "users": "/users", "user": f"/user/{USER}", "settlements": "/settlements", "settlement": f"/settlement/{batch}",
        "transaction": f"/transaction/{tx}", "block": f"/block/{block}", "activity": "/activity", "owners": "/owners",
        "contract": f"/contract/{INFERENCE}", "address": f"/address/{address('signer', 1)}",
        "search": "/search?q=llama",
        "missing": "/nothing", "gateway": "/gateway", "bills": "/bills", "bill": f"/bills/{PROVIDER}?verify=now",
    }  # fmt: skip


def pictures(paths: dict[str, str]) -> dict[str, dict[str, object]]:
    """The pictures of README and docs, and what they show."""
    return {
        str(IMAGES / "explore-network.png"): {"path": paths["network"], "kind": "wide", "height": 1000},
        str(IMAGES / "explore-provider.png"): {"path": paths["provider"], "kind": "dark", "height": 1000},
        str(IMAGES / "explore-user.png"): {"path": f"/user/{address('user', 9)}", "kind": "narrow", "height": 844},
    }


async def run(program: str, *, write: bool) -> int:
    """The exit status."""
    screenshots = HERE / "screenshots"
    screenshots.mkdir(exist_ok=True)
    with TemporaryDirectory() as directory:
        index = Path(directory) / "index.sqlite"
        build(index, Size(12, 60, 3_000))
        own = gateway_pages(store_of_gateway(Path(directory) / "journal"), gateway_state)
        own |= bill_pages(bills_with_receipts(Path(directory) / "bills"))
        source = Source(index, "mainnet", {"good-provider": PROVIDER}, own, clock=lambda: NOW + 20)
        paths = paths_of(index)
        async with served(source) as url:
            process = await asyncio.create_subprocess_exec(
                *("node", str(HERE / "pages.mjs"), program, url, str(screenshots), json.dumps(paths)),
                *([json.dumps(pictures(paths))] if write else []),
            )
            return await process.wait()


def main() -> int:
    program = next((found for one in CHROMIUM if (found := shutil.which(one))), None)
    if program is None:
        sys.stdout.write("Found no Chromium: the explorer is not tested in a browser.\n")
        return 0
    return asyncio.run(run(program, write="--write" in sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
