"""The search for secrets finds them: in log lines, errors' traces, replies and headers."""

import httpx
import structlog

from canaries import hide, take_seen, watch_reply


async def test_a_secret_that_is_shown_is_seen() -> None:
    secret = hide("a secret of this test alone")
    structlog.get_logger("test").info("nothing is wrong")
    assert take_seen() == []
    structlog.get_logger("test").debug("quiet", value=f"see {secret}")
    assert take_seen() == ["log line: quiet"]
    structlog.get_logger("test").info("traced", exc_info=ValueError(secret))
    assert take_seen() == ["log line: traced"]
    for reply in (
        httpx.Response(200, text=secret),
        httpx.Response(200, headers={"X-Echo": secret}),
    ):
        reply.request = httpx.Request("GET", "http://here/")
        await watch_reply(reply)
        assert take_seen() == ["reply of GET http://here/"]
