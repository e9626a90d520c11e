# SPDX-License-Identifier: Apache-2.0
"""Parts of commands: what several nouns show, and verbs that are long enough for a file of their own."""
