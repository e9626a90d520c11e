# SPDX-License-Identifier: Apache-2.0
"""`python -m serving_network` is `serving`."""

from serving_network.cli.main import app

app(prog_name="serving")
