"""What must hold of questions, answers and sessions: a query for breaches, and what cures them."""

from collections.abc import Mapping

from citewell.records.answers import BLANK_ORPHANED, ORPHANED

ANSWER_INVARIANTS: Mapping[str, tuple[str, str]] = {
    "no question outlives its job": (
        """
SELECT workspace_id, id FROM jobs WHERE payload <> '{}' AND status NOT IN ('queued', 'running')
""",
        "UPDATE jobs SET payload = '{}' WHERE status NOT IN ('queued', 'running')",
    ),
    "every answered question has its answer until that is removed": (
        """
SELECT j.workspace_id, j.id FROM jobs j WHERE j.task = 'answer' AND j.status = 'done'
AND j.progress ->> 'answer' IS DISTINCT FROM 'removed' AND NOT EXISTS (SELECT FROM answers a
    WHERE a.workspace_id = j.workspace_id AND a.id = j.id)
""",
        """
UPDATE jobs j SET status = 'failed', reason = 'answer_lost',
message = 'The answer was lost. Ask again.' WHERE j.task = 'answer' AND j.status = 'done'
AND j.progress ->> 'answer' IS DISTINCT FROM 'removed' AND NOT EXISTS (SELECT FROM answers a
    WHERE a.workspace_id = j.workspace_id AND a.id = j.id)
""",
    ),
    "every answer rests on documents that are there": (
        f"SELECT workspace_id, id FROM answers WHERE {ORPHANED}",
        BLANK_ORPHANED,
    ),
    "a session's messages are numbered without a gap": (
        """
SELECT workspace_id, session_id FROM messages GROUP BY workspace_id, session_id
HAVING min(ordinal) <> 0 OR max(ordinal) <> count(*) - 1
""",
        """
UPDATE messages m SET ordinal = n.place FROM (SELECT workspace_id, session_id, ordinal,
    row_number() OVER (PARTITION BY workspace_id, session_id ORDER BY ordinal) - 1 AS place
    FROM messages) n
WHERE m.workspace_id = n.workspace_id AND m.session_id = n.session_id AND m.ordinal = n.ordinal
AND m.ordinal <> n.place
""",
    ),
    "no turn of a session is held long after its end": (
        """
SELECT workspace_id, id FROM sessions WHERE turn_token IS NOT NULL
AND coalesce(turn_until, '-infinity') < now() - interval '10 minutes'
""",
        """
UPDATE sessions SET turn_token = NULL, turn_until = NULL
WHERE turn_token IS NOT NULL AND coalesce(turn_until, '-infinity') < now()
""",
    ),
}
