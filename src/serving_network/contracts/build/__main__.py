# SPDX-License-Identifier: Apache-2.0
"""Compile the contracts that have changed: `python -m serving_network.contracts.build [CONTRACT ...]`."""

import sys

from vyper.exceptions import VyperException

from . import BuildError, build

try:
    for name in build(sys.argv[1:] or None):
        sys.stdout.write(f"compiled {name}\n")
except (BuildError, VyperException) as error:
    sys.exit(f"{type(error).__name__}: {error}")
