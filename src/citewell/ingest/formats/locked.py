"""Office files with a password: what they hold, once the password opened them."""

import io
import struct
from typing import Any
from xml.parsers.expat import ExpatError

from citewell.errors import DocumentRejected

_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_OPEN_TO_ALL = "VelvetSweatshop"
"""The password with which Excel itself locks workbooks that nobody gave a password."""
_DAMAGES = (OSError, ValueError, LookupError, AssertionError, TypeError, AttributeError, EOFError,
            ArithmeticError, RecursionError, struct.error, ExpatError)  # fmt: skip


def unlock(data: bytes, password: str | None) -> bytes:
    """Return an OLE file's content without its encryption; one without any comes back as it is.

    Raises:  DocumentRejected – ``encrypted``: no password was given; ``wrong_password``;
             ``corrupt``: the encryption itself is damaged.
    """
    import msoffcrypto  # noqa: PLC0415 - 40 ms that other files do not pay for
    from msoffcrypto import exceptions as faults  # noqa: PLC0415

    broken = (faults.FileFormatError, faults.ParseError, faults.DecryptionError, *_DAMAGES)
    packed = _ENCRYPTED_STREAM in data
    try:
        file: Any = msoffcrypto.OfficeFile(io.BytesIO(data))  # pyright: ignore[reportUnknownMemberType]
        if not file.is_encrypted():
            return data
    except broken as error:
        if packed:
            raise _damaged() if password else encrypted() from error
        return data
    opened = io.BytesIO()
    try:
        file.load_key(password=password or _OPEN_TO_ALL)
        file.decrypt(opened)
    except faults.InvalidKeyError as error:
        raise wrong_password() if password else encrypted() from error
    except broken as error:
        raise _damaged() if password else encrypted() from error
    return opened.getvalue()


def encrypted() -> DocumentRejected:
    """Return what is said of a file that needs a password when none was sent."""
    return DocumentRejected(
        "encrypted",
        "The file is protected by a password. Send its password with the upload, or remove the "
        "password and try again.",
    )


def wrong_password() -> DocumentRejected:
    """Return what is said when the password that was sent does not open the file."""
    return DocumentRejected(
        "wrong_password",
        "The password does not open this file. Check it, and upload the file again with the right "
        "one.",
    )


def _damaged() -> DocumentRejected:
    return DocumentRejected(
        "corrupt",
        "The file is protected by a password, and its protection is damaged or of an unknown kind. "
        "Remove the password in the file's own program and upload that.",
    )
