"""ZIP archives."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from pathlib import Path

from advisor.data.containers.unpacking import MOST_FILES, Unpacking
from advisor.errors import one_line

ENDINGS: tuple[str, ...] = (".zip",)
# Python reads the list of files as a whole, and makes it ten times as large.
LONGEST_LIST = 100 * MOST_FILES  # bytes
_END, _END_SIZE, _LONGEST_COMMENT = b"PK\5\6", 22, 1 << 16
_END_64, _END_64_SIZE, _LOCATOR_SIZE = b"PK\6\6", 56, 20


def unpack(source: Path, into: Unpacking) -> None:
    """Unpack a ZIP archive, see `Container`."""
    if _list_size(source) > LONGEST_LIST:
        raise into.refuse("has too long a list of files; unpack it by hand and give the folder")
    try:
        with zipfile.ZipFile(source) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            whole = sum(info.file_size for info in files)
            done = 0
            for info in files:
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG):
                    raise into.refuse(
                        f"holds {info.filename[:80]!r}, which is a link or a device; unpack it by hand and "
                        "give the folder"
                    )
                if info.flag_bits & 1:
                    raise into.refuse("has a password; unpack it by hand and give the folder")
                with archive.open(info) as content:
                    into.put(info.filename, content)  # type: ignore[arg-type]
                done += info.file_size
                into.progress(done // 1_000_000, whole // 1_000_000)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise into.refuse(f"is damaged or no ZIP archive ({one_line(error)}); get it anew") from None


def _list_size(source: Path) -> int:
    """Bytes of the list of files, as the end of an archive announces them; 0 where there is no end."""
    with source.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END_SIZE - _LONGEST_COMMENT - _LOCATOR_SIZE - _END_64_SIZE))
        tail = file.read()
    end, end_64 = tail.rfind(_END), tail.rfind(_END_64)
    announced = [tail[end + 12 : end + 16]] if end >= 0 else []
    announced += [tail[end_64 + 40 : end_64 + 48]] if end_64 >= 0 else []
    sizes = [int.from_bytes(number, "little") for number in announced]
    return min(max((one for one in sizes if one != 0xFFFFFFFF), default=0), size)
