"""TAR archives, compressed or not."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from pathlib import Path
from typing import BinaryIO

from advisor.data.containers.unpacking import PIECE, Unpacking
from advisor.errors import one_line

ENDINGS: tuple[str, ...] = (".tar", ".tar.gz", ".tgz")
LARGEST_READ = 16 * PIECE  # at once; a header that claims more would be read into memory as a whole
_GZIP = b"\x1f\x8b"


def unpack(source: Path, into: Unpacking) -> None:
    """Unpack a TAR archive, see `Container`."""
    try:
        with source.open("rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            plain: BinaryIO = gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[assignment]
            stream = _Careful(plain, into)
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                _unpack(archive, file, source.stat().st_size, into)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, _TooMuchRead) as error:
        raise into.refuse(f"is damaged or no TAR archive ({one_line(error)}); get it anew") from None


def _unpack(archive: tarfile.TarFile, file: BinaryIO, size: int, into: Unpacking) -> None:
    for member in archive:
        if member.isdir():
            continue
        if not member.isfile():
            raise into.refuse(
                f"holds {member.name[:80]!r}, which is a link or a device; unpack it by hand and give the "
                "folder"
            )
        try:
            content = archive.extractfile(tarfile.data_filter(member, str(into.folder)))
        except tarfile.FilterError:
            raise into.leads_out(member.name) from None
        if content is not None:
            into.put(member.name, content)  # type: ignore[arg-type]
        into.progress(file.tell() // 1_000_000, size // 1_000_000)


class _TooMuchRead(Exception):
    """A header claims more than any has."""


class _Careful(io.RawIOBase):
    """A stream that gives out no more at once, and in all, than an archive may need."""

    def __init__(self, stream: BinaryIO, into: Unpacking) -> None:
        self._stream, self._into = stream, into

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_READ:
            raise _TooMuchRead("a header in it is too long")
        return self._stream.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        if whence == 0 and position > 2 * self._into.most_bytes:
            raise _TooMuchRead("a file in it is too long")
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
