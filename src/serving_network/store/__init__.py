# SPDX-License-Identifier: Apache-2.0
"""What is kept on disk by the programs of a provider: tables, migrations, and how they are opened."""
