# SPDX-License-Identifier: Apache-2.0
"""Read on after the client has left a stream, until the model server reports the input.

The output that is billed stays what was delivered: nobody pays for what nobody got. It ends soon, because the model
server works for nobody meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import Final

from serving_network.gateway.metering import StreamMeter
from serving_network.gateway.upstream import Answer, UpstreamCut
from serving_network.gateway.usage import Usage
from serving_network.messages.receipts import Source

READ_ON_TOKENS: Final = 256
READ_ON_SECONDS: Final = 5.0


async def read_on(answer: Answer, meter: StreamMeter) -> Usage | None:
    """The usage of what the client received, with the input if the model server reports it soon."""
    delivered, sent = meter.usage(), meter.sent()
    if delivered is None or delivered.source is Source.USAGE or delivered.input or sent is None:
        return delivered
    most = sent.output + READ_ON_TOKENS
    try:
        async with asyncio.timeout(READ_ON_SECONDS):
            while sent.source is not Source.USAGE and sent.output < most and (packet := await answer.packet()):
                meter.feed(packet)
                sent = meter.sent() or sent
    except (TimeoutError, UpstreamCut):
        return delivered
    if sent.source is not Source.USAGE:
        return delivered
    return delivered._replace(input=sent.input, cached=sent.cached, output=min(delivered.output, sent.output))
