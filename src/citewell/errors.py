"""Everything that can go wrong, grouped by who must act.

CitewellError
├─ InputError        400      the caller must change something
│  ├─ TooLarge        413
│  ├─ UnsupportedMedia 415
│  └─ Unprocessable   422
├─ Unauthenticated   401      no credential, or none that is valid here
├─ AccessError       403      the caller may not do this
├─ NotFound          404      unknown, or another workspace's
├─ Conflict          409      true only in another state
│  └─ SessionBusy     409      the message before it is still being answered
├─ LimitExceeded     429      the caller must wait
│  └─ QuotaExceeded   429      the workspace or collection has used up what it may
├─ ProviderError     502      a model failed
│  ├─ ProviderTimeout 504     it did not end in time
│  ├─ ProviderBusy    503     it, or our own limit for it, has no turn now
│  └─ ProviderBadReply 502    what it sent is not what was asked for
├─ RemoteFailed      502      an address that a user named did not answer
├─ Unavailable       503      our PostgreSQL or Valkey, or a server that did not start
└─ InsufficientStorage 507    a disk is full

DocumentRejected is not an HTTP error: it ends a job as failed, with a reason code. ParserKilled and
LeaseLost are met by workers only.
Anything else is a bug: logged with an id, and the id is all that a client sees.
"""

import errno
from typing import ClassVar

FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No block, no quota, or a file-size limit: an OSError that only more room cures."""


class CitewellError(Exception):
    """Something went wrong; the details are in the server's log."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, code: str | None = None) -> None:
        super().__init__(message or self.default_message())
        self.reason = code or self.code

    @classmethod
    def default_message(cls) -> str:
        """Return the first line of the class's docstring, the sentence shown when none is given."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    @property
    def message(self) -> str:
        """The sentence shown to a person: what is wrong and what to do next."""
        return str(self.args[0])


class InputError(CitewellError):
    """The request cannot be read; correct it and send it again."""

    code = "bad_request"
    status = 400


class TooLarge(InputError):
    """The request is larger than this server accepts; send less at once."""

    code = "too_large"
    status = 413


class UnsupportedMedia(InputError):
    """Such a file cannot be read; convert it to PDF, DOCX, HTML, Markdown or text."""

    code = "unsupported_media"
    status = 415


class Unprocessable(InputError):
    """A value in the request is not valid; correct it and send it again."""

    code = "invalid"
    status = 422


class Unauthenticated(CitewellError):
    """A valid API key is needed; send it as Authorization: Bearer KEY, or as X-API-Key."""

    code = "unauthenticated"
    status = 401


class AccessError(CitewellError):
    """You may not do this with the credential that you sent."""

    code = "forbidden"
    status = 403


class NotFound(CitewellError):
    """There is nothing with that id here."""

    code = "not_found"
    status = 404


class Conflict(CitewellError):
    """The thing is in a state that does not allow this."""

    code = "conflict"
    status = 409


class SessionBusy(Conflict):
    """Another message of this session is still being answered; wait and send yours again."""

    code = "session_busy"
    retryable = True
    retry_after_seconds = 2.0


class LimitExceeded(CitewellError):
    """Too many requests; wait and try again."""

    code = "limit_exceeded"
    status = 429
    retryable = True

    def __init__(
        self, message: str | None = None, *, retry_after_seconds: float | None = 1.0
    ) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class QuotaExceeded(LimitExceeded):
    """A quota is used up; delete something, wait for the next day, or ask for a larger one."""

    code = "quota_exceeded"
    retryable = False

    def __init__(
        self, message: str | None = None, *, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)


class ProviderError(CitewellError):
    """The model could not be used; try again, or choose another one in the settings."""

    code = "provider_failed"
    status = 502
    retryable = True


class ProviderTimeout(ProviderError):
    """The model did not answer in time; ask again, or give it more time."""

    code = "provider_timeout"
    status = 504


class ProviderBusy(ProviderError):
    """The model has too much to do; wait and try again."""

    code = "provider_busy"
    status = 503

    def __init__(self, message: str | None = None, *, retry_after_seconds: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ProviderBadReply(ProviderError):
    """The model sent something that cannot be used; try again, or choose another model."""

    code = "provider_bad_reply"
    status = 502


class RemoteFailed(CitewellError):
    """The address did not answer as it should; look at the program behind it."""

    code = "remote_failed"
    status = 502
    retryable = True


class Unavailable(CitewellError):
    """A part that Citewell needs does not answer; try again in a few seconds."""

    code = "unavailable"
    status = 503
    retryable = True


class InsufficientStorage(CitewellError):
    """There is no space left to store this; free some on the server, then send it again."""

    code = "storage_full"
    status = 507
    retryable = True


class DocumentRejected(CitewellError):
    """The document cannot be turned into searchable text."""

    code = "rejected"
    status = 422

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, code=code)


class ParserKilled(CitewellError):
    """The process that read the file was killed, perhaps for want of memory; split the file."""

    code = "parser_killed"
    status = 503
    retryable = True


class LeaseLost(CitewellError):
    """Another worker holds this job now; this one stops without publishing."""

    code = "lease_lost"
    status = 409
