# SPDX-License-Identifier: Apache-2.0
"""The index: follows the events of a network's contracts into SQLite or PostgreSQL, and reads them back.

Programs that show the index use `opening.reading` and `reading.IndexReader`.
"""
