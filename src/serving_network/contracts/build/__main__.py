"""Compile what has changed: `python -m serving_network.contracts.build [CONTRACT ...]`."""

import sys

from . import build

sys.stdout.writelines(f"compiled {name}\n" for name in build(sys.argv[1:] or None))
