# SPDX-License-Identifier: Apache-2.0
"""How commands are declared, run, interrupted and completed, and how they ask and print."""
