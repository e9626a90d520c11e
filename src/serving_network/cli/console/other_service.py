# SPDX-License-Identifier: Apache-2.0
"""Name the service in which a provider has registered, if a command has looked for it in another one."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from serving_network.errors import ContractError, ServingError

if TYPE_CHECKING:
    from serving_network.cli.console.session import Session


async def name_other_service(session: Session, failure: ContractError) -> None:
    """Let the next step of ServiceNotExist name the option that finds the provider's service."""
    from serving_network.contracts.errors import ServiceNotExist

    if not isinstance(failure, ServiceNotExist):
        return
    with suppress(ServingError):  # whatever fails now, the first failure is the one to report
        if registered := await (await session.reader()).services_of(failure.provider):
            failure.cause = f"It has registered in {' and '.join(registered)}."
            failure.next_step = f"Pass --service {registered[0]}"
