"""`serving verify sourcify`"""

from typing import Annotated

import aiohttp
import typer

from serving_network.cli.command import reads
from serving_network.cli.deploy.files import CONTRACT, DEFAULT_FILES, FILES, record_of
from serving_network.cli.session import Session
from serving_network.cli.verify.targets import submissions
from serving_network.deployment.sourcify import URL, Sourcify


@reads
async def sourcify(
    session: Session,
    contract: CONTRACT,
    url: Annotated[str, typer.Option(help="The Sourcify server.")] = URL,
    files: FILES = DEFAULT_FILES,
) -> None:
    """Have Sourcify verify the implementation and the beacon of a contract.

    Example: serving verify sourcify ledger --network testnet
    """
    record = record_of(session, files).record
    results = []
    async with aiohttp.ClientSession() as web:
        service = Sourcify(web, url)
        for code, made in submissions(record.contract(contract)):
            result = await service.verify(
                record.chain_id, code.address, made.content, made.compiler, made.identifier, code.mined.transaction
            )
            results.append(
                {
                    "contract": code.contract,
                    "address": code.address,
                    "runtime": result.runtime,
                    "creation": result.creation,
                    "already_known": result.already_known,
                }
            )
            known = ", known already" if result.already_known else ""
            session.out.line(f"{code.contract} at {code.address}: {result.runtime}{known}")
    session.out.result(results)
