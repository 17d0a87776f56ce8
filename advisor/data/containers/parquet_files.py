"""Parquet files, one or a folder of them, as the Hugging Face Hub keeps image data sets.

The pictures are bytes in a column, alone or with their path; the label is text, or a number whose name stands
in the metadata. All other columns of text and numbers come along in the table.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.data.containers.unpacking import Unpacking
from advisor.data.names import split_of_folder
from advisor.errors import InputError, one_line

if TYPE_CHECKING:
    import pyarrow.parquet as pq

ENDINGS: tuple[str, ...] = (".parquet",)
ROWS = 64  # that are in memory at once
LARGEST_PIECE = 2_000_000_000  # bytes of one group of rows, which the library holds in memory
_STARTS = {
    **{b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp"},
    **{b"II*\0": ".tif", b"MM\0*": ".tif"},
}


def are_in(folder: Path) -> bool:
    """Whether a folder holds Parquet files: in it, or in folders in it that hold nothing else."""
    return next(iter(files_in(folder)), None) is not None


def files_in(folder: Path) -> list[Path]:
    """The Parquet files of a folder and of the folders in it, in order; none if a folder holds others."""
    found: list[Path] = []
    with os.scandir(folder) as entries:
        inside = sorted(entry.path for entry in entries if not entry.name.startswith("."))
    for path in map(Path, inside):
        if path.is_file() and path.name.lower().endswith(ENDINGS):
            found.append(path)
        elif path.is_dir():
            with os.scandir(path) as entries:
                names = [entry.name for entry in entries if not entry.name.startswith(".")]
            if not names or not all(name.lower().endswith(ENDINGS) for name in names):
                return []
            found += [path / name for name in sorted(names)]
    return found


def unpack(source: Path, into: Unpacking) -> None:
    """Write the pictures of Parquet files as they are in them, see `Container`."""
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError("Parquet needs pyarrow; run: pip install 'transfer-advisor[parquet]'") from None
    files = [source] if source.is_file() else files_in(source)
    whole, done, number = sum(file.stat().st_size for file in files), 0, 0
    for file in files:
        try:
            with pq.ParquetFile(file) as table:
                for last in _unpack(table, _split_of(file, source), number, into):
                    part = (last - number) / table.metadata.num_rows * file.stat().st_size
                    into.progress(int(done + part) // 1_000_000, whole // 1_000_000)
                number += table.metadata.num_rows
        except InputError:
            raise
        except Exception as error:  # its errors are of many kinds
            damaged = f"has a damaged Parquet file {file.name} ({one_line(error)}); get it anew"
            raise into.refuse(damaged) from None
        done += file.stat().st_size


def _split_of(file: Path, source: Path) -> str | None:
    """What the name of a file, as train-00000-of-00002.parquet, or of its folder says of its split."""
    named = file.name.partition("-")[0].partition(".")[0]
    return split_of_folder(named) or (split_of_folder(file.parent.name) if file.parent != source else None)


def _unpack(table: pq.ParquetFile, split: str | None, number: int, into: Unpacking) -> Iterator[int]:
    """Write the rows of one file; yields the number of the next one now and then."""
    import pyarrow as pa

    schema = table.schema_arrow
    picture = next((field.name for field in schema if _holds_pictures(field.type)), None)
    if picture is None:
        raise into.refuse("has no column of pictures, as bytes or as bytes with their path")
    plain = [
        field.name
        for field in schema
        if field.name != picture and not (pa.types.is_nested(field.type) or pa.types.is_binary(field.type))
    ]
    names = _class_names(schema.metadata)
    for group in range(table.num_row_groups):
        if table.metadata.row_group(group).total_byte_size > LARGEST_PIECE:
            raise into.refuse("has too large groups of rows; write it anew with row_group_size=100")
    for batch in table.iter_batches(ROWS, columns=[picture, *plain]):
        for row in batch.to_pylist():
            content = row.pop(picture)
            content = (content.get("bytes") if isinstance(content, dict) else content) or b""
            name = f"{split or 'images'}/{number:07}{_ending(content)}"
            into.put(name, io.BytesIO(content))
            told = {
                "path in it" if key == "path" else key: _named(value, names.get(key))
                for key, value in row.items()
            }
            into.row({"path": name, **({"split": split} if split else {}), **told})
            number += 1
        yield number


def _holds_pictures(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """The names of numbered labels, by column, as the `datasets` library writes them down."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and isinstance(feature.get("names"), list)
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _named(value: object, names: list[str] | None) -> str:
    if names and isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return "" if value is None else str(value)


def _ending(content: bytes) -> str:
    """Of the name of a picture, by its first bytes; without one if they are none that we know."""
    return next((ending for start, ending in _STARTS.items() if content.startswith(start)), "")
