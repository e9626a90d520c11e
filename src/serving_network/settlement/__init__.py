"""From a provider's usage log to coins in the provider's wallet.

Read in this order: `usage` (the log), `pricing` (fees and the requests hash), `journal` (the state that survives a
crash), `planning` (who is settled, in which order, who has to wait and why), `nonces`, `typed_data` and `signers` (what
the TEE signs), `chain` (the interface to a node), `following` (batches until their results are booked), `runner` (a
whole run), `report`.
"""
