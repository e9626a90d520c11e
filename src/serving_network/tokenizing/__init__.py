# SPDX-License-Identifier: Apache-2.0
"""Count tokens with a model's own tokenizer, where a model server reports no usage or is not believed.

| module | question |
|---|---|
| `tokenizer` | how many tokens does the model read in a text, or in a chat? |
| `prompts` | which text is in a request? |
| `answers` | which text did the model generate? |

All counts are rounded down: tokens that are not text, such as the end of a turn, are counted only where the chat
template writes them, and media not at all.
"""
