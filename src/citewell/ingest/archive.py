"""Guard against hostile archives: count what really comes out before any parser opens them."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

from citewell.errors import DocumentRejected

MEBIBYTE = 1024 * 1024
_LIMIT_ENTRIES = 20_000
_LIMIT_BYTES = 512 * MEBIBYTE
_LIMIT_RATIO = 150
_RATIO_FROM_BYTES = 24 * MEBIBYTE
_BLOCK = 256 * 1024


def guard_archive(data: bytes) -> list[str]:
    """Check a zip file by inflating it in blocks, and return its members' names.

    Holds:   what the file's own directory says of sizes is not believed but compared, so that no
             later reader meets more than was counted here.
    Cost:    about 300 MB of content a second; one block of memory.
    Raises:  DocumentRejected – ``archive_bomb``, ``corrupt`` (also for names that climb out with
             ``..``), ``encrypted``.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
        if len(members) > _LIMIT_ENTRIES:
            raise _bomb(f"it has {len(members):,} entries")
        names = [_checked(member) for member in members]
        total = 0
        for member in members:
            total += _inflated_bytes(data, member, total)
    except DocumentRejected:
        raise
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OSError,
            NotImplementedError, RuntimeError, LookupError) as error:  # fmt: skip
        raise DocumentRejected(
            "corrupt",
            "The file is a damaged or cut-off archive. Open it in its own program, save it anew "
            "and upload that.",
        ) from error
    return names


def _checked(member: zipfile.ZipInfo) -> str:
    if member.flag_bits & 0x1:
        raise DocumentRejected(
            "encrypted",
            "The file is protected by a password, which cannot be used for this kind of file. "
            "Remove the password and try again.",
        )
    parts = member.filename.replace("\\", "/").split("/")
    if ".." in parts or member.filename.startswith(("/", "\\")):
        raise DocumentRejected(
            "corrupt",
            "The file holds an entry whose name points outside of the file. Save it anew in its "
            "own program.",
        )
    return member.filename


def _inflated_bytes(data: bytes, member: zipfile.ZipInfo, before: int) -> int:
    """Return how many bytes a member really holds."""
    count, checksum = 0, 0
    for block in _blocks(_packed(data, member), member.compress_type):
        count += len(block)
        checksum = zlib.crc32(block, checksum)
        total = before + count
        if total > _LIMIT_BYTES:
            raise _bomb(f"it unpacks to more than {_LIMIT_BYTES // MEBIBYTE} MiB")
        if total > _RATIO_FROM_BYTES and total > len(data) * _LIMIT_RATIO:
            raise _bomb(f"it unpacks to more than {_LIMIT_RATIO} times its size")
    if count != member.file_size or checksum != member.CRC:
        raise zipfile.BadZipFile("a member is other than the directory says")
    return count


def _packed(data: bytes, member: zipfile.ZipInfo) -> memoryview:
    """Return a member's bytes as they stand in the file, behind its local header."""
    start = member.header_offset
    if data[start : start + 4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("a member has no header")
    name_length, extra_length = struct.unpack_from("<HH", data, start + 26)
    start += 30 + name_length + extra_length
    packed = memoryview(data)[start : start + member.compress_size]
    if len(packed) != member.compress_size:
        raise zipfile.BadZipFile("a member is cut off")
    return packed


def _blocks(packed: memoryview, method: int) -> Iterator[bytes]:
    """Inflate in blocks; office files are packed by deflate or not at all."""
    if method == zipfile.ZIP_STORED:
        for start in range(0, len(packed), _BLOCK):
            yield bytes(packed[start : start + _BLOCK])
        return
    if method != zipfile.ZIP_DEFLATED:
        raise zipfile.BadZipFile("a member is packed as no document is")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for start in range(0, len(packed), _BLOCK):
        left = bytes(packed[start : start + _BLOCK])
        while left:
            yield inflater.decompress(left, _BLOCK)
            left = inflater.unconsumed_tail
    yield inflater.flush()
    if not inflater.eof:
        raise zipfile.BadZipFile("a member is cut off")


def _bomb(what: str) -> DocumentRejected:
    return DocumentRejected(
        "archive_bomb",
        f"The file was not opened, because {what}. Split it, or export its text as PDF or TXT.",
    )
