# SPDX-License-Identifier: Apache-2.0
"""`serving` as a process whose new keys take a thousandth of the usual time to encrypt and to open."""

from __future__ import annotations

from functools import partial
from unittest.mock import patch

from serving_network.cli.main import app
from serving_network.wallet.keys import KeyStore

SERVING = "tests.light_keys:serving"
"""For `tests.zygote`."""


def serving() -> None:
    with patch("serving_network.cli.console.home.KeyStore", partial(KeyStore, scrypt_work=2)):
        app()
