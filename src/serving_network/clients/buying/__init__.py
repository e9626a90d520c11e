# SPDX-License-Identifier: Apache-2.0
"""Buy inference: ask a provider, and check what it answers and bills.

| module | question |
|---|---|
| `provider` | where is the provider's server, and is its TEE signer the one that the user trusts? |
| `answers` | did the signer sign this answer, and a receipt for exactly it? |
| `purchase` | how is one request sent, delivered and checked? |
| `deltas` | which text is in a stream? |
| `recount` | does the model's tokenizer count what was billed? |
| `funding` | when is the account topped up, and when is the limit reached? |
| `endpoint` | the OpenAI API on this machine |
"""
