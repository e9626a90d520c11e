# SPDX-License-Identifier: Apache-2.0
"""Settle what users owe a provider: rows in, payments on chain and a report out.

| to see | read |
|---|---|
| a run from beginning to end | `runner` |
| where a settlement row becomes a transaction | `sending`; `journal.batches` writes it before it is sent |
| why nobody is charged twice | `nonces` (the user's), `wallet_nonces` (the provider's), `following` |
| what is on disk | `journal`, with its tables in `serving_network.store.schema` |
| what is asked of a chain | `chain` (the interface), `live` and `history` (through a node) |
| what earlier runs left behind | `resuming` |
| where the rows come from | `recording`; logs are read by `serving_network.usage_logs` |
| what a person can decide | `adopting`, `cancelling`, and void requests in `journal.decisions` |
| who is settled, and who has to wait for what | `planning`, `gas`, `options`, `report` |
"""
