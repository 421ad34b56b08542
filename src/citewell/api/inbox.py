"""The inbox: one folder of the server that files may be named in, and nothing outside of it."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from citewell.errors import Conflict, NotFound, Unprocessable

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}


def open_inbox_file(inbox: Path | None, file_name: str) -> BinaryIO:
    """Open a file of the inbox by its path below it.

    Holds:   folder by folder, each opened in the one before without following symbolic links, so
             that nothing outside can be reached, whatever is changed meanwhile.
    Raises:  Conflict – there is no inbox.  Unprocessable – the name is no such path, or names no
             file.  NotFound – there is no such file.
    """
    if inbox is None:
        raise Conflict(
            "This server has no inbox. Set CITEWELL_INBOX to a folder and start it again, or "
            "upload the file."
        )
    parts = file_name.split("/")
    if "\\" in file_name or any(part in {"", ".", ".."} for part in parts):
        raise Unprocessable(
            "The field file_name must be a path below the inbox, such as reports/may.pdf, "
            "without . and .."
        )
    try:
        folder = os.open(inbox, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise Conflict(
            "The inbox cannot be opened. Check the folder that CITEWELL_INBOX names."
        ) from error
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.open(parts[-1], flags, dir_fd=folder)
    except OSError as error:
        if error.errno in _MISSING:
            raise NotFound(
                "There is no such file in the inbox. Symbolic links are not followed."
            ) from error
        raise Unprocessable(
            "This file of the inbox cannot be read by the server. Check its permissions."
        ) from error
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise Unprocessable("The field file_name names a folder or something else that is no file.")
    return os.fdopen(file, "rb")
