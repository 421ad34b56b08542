"""Sessions of browsers, and sign-ins that have begun: only digests of their secrets are kept."""

from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import Principal, PrincipalId
from citewell.records.principals import COLUMNS, VALID, make_principal
from citewell.records.statements import text


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whom a session stands for, and what proves that a change was meant by its page."""

    principal: Principal
    csrf_digest: bytes
    expires_at: datetime


async def add_session(
    connection: AsyncConnection,
    principal_id: PrincipalId,
    digest: bytes,
    csrf_digest: bytes,
    hours: float,
) -> datetime:
    """Begin a session; return when it ends, which is with its key at the latest.

    Needs a system transaction.
    """
    return (
        await connection.execute(
            text(
                "INSERT INTO browser_sessions (id, principal_id, digest, csrf_digest, expires_at) "
                "SELECT :id, p.id, :digest, :csrf, least(p.expires_at, "
                "now() + make_interval(secs => 3600 * CAST(:hours AS float8))) "
                "FROM principals p WHERE p.id = :principal RETURNING expires_at"
            ),
            {
                "id": uuid4(),
                "principal": principal_id,
                "digest": digest,
                "csrf": csrf_digest,
                "hours": hours,
            },
        )
    ).scalar_one()


async def find_session(connection: AsyncConnection, digest: bytes) -> SignedIn | None:
    """Return the session of a digest, unless it or what it was begun with has ended.

    Notes once a minute that its principal is at work. Needs a system transaction.
    """
    row = (
        await connection.execute(
            text(
                "WITH used AS (UPDATE principals SET last_used_at = now() WHERE id = "
                "(SELECT principal_id FROM browser_sessions WHERE digest = :digest) "
                "AND coalesce(last_used_at, '-infinity') < now() - interval '1 minute') "
                "SELECT s.csrf_digest, s.expires_at AS session_ends, p.kind, p.subject, "
                f"{COLUMNS} FROM browser_sessions s JOIN principals p ON p.id = s.principal_id "
                f"WHERE s.digest = :digest AND s.expires_at > now() AND {VALID}"
            ),
            {"digest": digest},
        )
    ).one_or_none()
    if row is None:
        return None
    actor = f"key:{row.hint}" if row.kind == "key" else f"person:{row.subject}"
    return SignedIn(make_principal(actor, row), bytes(row.csrf_digest), row.session_ends)


async def remove_session(connection: AsyncConnection, digest: bytes) -> bool:
    """End a session; say whether there was one. Needs a system transaction."""
    removed = await connection.execute(
        text("DELETE FROM browser_sessions WHERE digest = :digest"), {"digest": digest}
    )
    return removed.rowcount > 0


async def add_sign_in(connection: AsyncConnection, digest: bytes, minutes: float) -> None:
    """Note that somebody was sent to the provider. Needs a system transaction."""
    await connection.execute(
        text(
            "INSERT INTO sign_ins (digest, expires_at) "
            "VALUES (:digest, now() + make_interval(secs => 60 * CAST(:minutes AS float8)))"
        ),
        {"digest": digest, "minutes": minutes},
    )


async def take_sign_in(connection: AsyncConnection, digest: bytes) -> bool:
    """End a sign-in; say whether it was begun, not too long ago, and not ended before.

    Needs a system transaction.
    """
    taken = await connection.execute(
        text("DELETE FROM sign_ins WHERE digest = :digest AND expires_at > now()"),
        {"digest": digest},
    )
    return taken.rowcount > 0


async def remove_ended_sessions(connection: AsyncConnection) -> None:
    """Remove sessions and sign-ins whose time is over. Needs a system transaction."""
    await connection.execute(text("DELETE FROM browser_sessions WHERE expires_at <= now()"))
    await connection.execute(text("DELETE FROM sign_ins WHERE expires_at <= now()"))
