"""Write the example log to standard output."""

import sys

from serving_network.settlement.example import write_log

sys.stdout.writelines(write_log())
