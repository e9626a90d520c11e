"""`serving verify blockscout`"""

from typing import Annotated

import aiohttp
import typer

from serving_network.cli.command import reads
from serving_network.cli.deploy.files import CONTRACT, DEFAULT_FILES, FILES, record_of
from serving_network.cli.session import Session
from serving_network.cli.verify.targets import submissions
from serving_network.deployment.blockscout import Blockscout


@reads
async def blockscout(
    session: Session,
    contract: CONTRACT,
    url: Annotated[str, typer.Option(help="The explorer's start page.")],
    files: FILES = DEFAULT_FILES,
) -> None:
    """Have a Blockscout explorer verify the implementation and the beacon of a contract.

    Example: serving verify blockscout ledger --url https://explorer.example --network testnet
    """
    record = record_of(session, files).record
    results = []
    async with aiohttp.ClientSession() as web:
        service = Blockscout(web, url)
        for code, made in submissions(record.contract(contract)):
            result = await service.verify(code.address, made.content, made.compiler)
            results.append({"contract": code.contract, "address": code.address, "already_known": result.already_known})
            known = ", known already" if result.already_known else ""
            session.out.line(f"{code.contract} at {code.address}: verified{known}")
    session.out.result(results)
