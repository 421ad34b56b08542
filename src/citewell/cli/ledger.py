"""What commands do on the records themselves, without the API: migrate, check, make the first key.

Loading this takes as long as the rest of the command line together: commands load it when they run.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from citewell.domain import INSTALLATION, WorkspaceId
from citewell.errors import Unavailable
from citewell.records.audit import add_audit
from citewell.records.audit_chain import Chain, read_anchor, verify_chains
from citewell.records.credentials import digest_of, new_credential
from citewell.records.principals import NewKey, add_key, has_keys
from citewell.records.schema import migrate
from citewell.records.session import Database
from citewell.settings import Settings

EXAMPLES = 3
"""Ids that are shown of the rows that break an invariant."""


async def migrate_database(settings: Settings) -> bool:
    """Bring the database to the newest schema; return whether anything was to do."""
    if settings.database_url is None:
        raise Unavailable("CITEWELL_DATABASE_URL is not set. Set it, or use `citewell up`.")
    database = Database(settings.database_url.get_secret_value(), 2)
    try:
        return await migrate(database.engine)
    finally:
        await database.close()


async def make_first_key(settings: Settings) -> str | None:
    """Make an owner's key where no key was ever made; return it to be shown once."""
    if settings.database_url is None or settings.auth.pepper is None:
        return None
    database = Database(settings.database_url.get_secret_value(), 2)
    try:
        async with database.system_transaction() as connection:
            if await has_keys(connection):
                return None
            credential = new_credential()
            digest = digest_of(credential.text, settings.auth.pepper)
            first = NewKey("first owner", credential.lookup, digest, True, origin="first start")
            made = await add_key(connection, first)
            await add_audit(connection, INSTALLATION, "key.add", str(made.id), None)
            return credential.text
    finally:
        await database.close()


async def check_records(
    settings: Settings, *, repair: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Check every invariant, and repair when told to; return the checks and the repairs."""
    from citewell.wiring import open_ledger  # noqa: PLC0415 - `up` loads it while servers start

    await migrate_database(settings)
    async with open_ledger(settings) as ledger:
        checks = await ledger.verify()
        repairs = await ledger.repair(checks) if repair else []
    shown = [
        {
            "invariant": check.invariant,
            "breaches": check.breaches,
            "examples": [" ".join(map(str, row)) for row in check.found[:EXAMPLES]],
        }
        for check in checks
    ]
    return shown, [asdict(item) for item in repairs]


async def check_audit(
    settings: Settings, workspace_id: WorkspaceId | None, expected: Sequence[str]
) -> list[Chain]:
    """Walk the audit log's chains; ``expected`` are anchors as they are printed.

    Raises:  InputError – an anchor cannot be read.
    """
    from citewell.wiring import open_ledger  # noqa: PLC0415 - as above

    anchors = [read_anchor(given) for given in expected]
    await migrate_database(settings)
    async with open_ledger(settings) as ledger:
        return await verify_chains(ledger.database, workspace_id, anchors)
