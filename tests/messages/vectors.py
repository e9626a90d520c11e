# SPDX-License-Identifier: Apache-2.0
"""The vectors that other programs made: the parties, bodies, texts and signatures of the gateway's wire format."""

from __future__ import annotations

from typing import Final

CHAIN_ID: Final = 31337
CONTRACT: Final = "0x0165878A594ca255338adfa4d48449f69242Eb8F"
PROVIDER: Final = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
USER: Final = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
TEE_KEY: Final = bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe512961708279b7e1a8d7d7a3c2b9e3")
TEE_SIGNER: Final = "0x325744be57db298C2652c672B32Eb12875d92D83"

REQUEST: Final = b'{"model":"mock-model","messages":[{"role":"user","content":"hi"}]}'
ANSWER: Final = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"mock-model","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hi there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,'
    b'"completion_tokens":5,"total_tokens":17}}'
)
ANSWER_TEXT: Final = (
    "8b9f508c2d0cb9d68b78bb1d3dcf3d29089578975990273bac10072f68e077d8:"
    "dab38ce9d43982989351a6be0829d5ea710fe96bad514306c583276af0df68a7"
)

STREAM_REQUEST: Final = (
    b'{"model":"mock-model","messages":[{"role":"user","content":"hi"}],"stream":true,'
    b'"stream_options":{"include_usage":true}}'
)
STREAM_EVENTS: Final = (
    b'data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n',
    b'data: {"id":"c1","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":12,'
    b'"completion_tokens":5,"total_tokens":17}}\n\n',
    b"data: [DONE]\n\n",
)


def raw(text: str) -> bytes:
    """Bytes from 0x and digits."""
    return bytes.fromhex(text[2:])
