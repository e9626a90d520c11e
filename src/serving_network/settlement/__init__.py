"""From a provider's usage log to coins in the provider's wallet.

Read in this order: `usage` (the log), `pricing` (fees and the requests hash), `journal` (what is known for
certain after a crash), `planning` (who is settled, in which order, who has to wait and why), `typed_data` and
`signers` (what the TEE signs), `chain` (what is asked of a node), `runner` (the whole job), `report`.
"""
