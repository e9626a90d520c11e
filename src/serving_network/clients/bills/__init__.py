# SPDX-License-Identifier: Apache-2.0
"""Bills: check what a provider billed a user against the chain. No key is needed.

| module | question |
|---|---|
| `fetching` | which receipts does the provider's gateway have of this user? |
| `evidence` | what does the chain say: settlements, prices, confirmed signers? |
| `checking` | is each receipt signed, in sequence, and billed at the registered prices? |
| `matching` | which receipts does each settlement pay for, and which coins does no receipt cover? |
| `verdict` | both together |
| `exported` | the file with which a third party checks a bill alone |
| `spending` | what was spent, by model, key and day |
"""
