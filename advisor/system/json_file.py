"""JSON and text: written whole and in UTF-8; what is wrong with a JSON file is told in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from advisor.system.storage import open_plain, replacing

MOST_BYTES = 8_000_000  # enough for 50,000 classes; the shortest values take 24 times as much memory
MOST_DIGITS = 300  # the largest number with a decimal point has 309, and each can become one


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file with one item on each line.

    Args:
        path: the file; it is replaced as a whole.
        value: of the types that JSON has.

    Raises:
        OSError: it cannot be written.
    """
    # A byte of a file's name that is no text comes as half a character: JSON has an escape for it.
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whatever the locale is, with line ends as they are in the text.

    Args:
        path: the file; it is replaced as a whole.
        text: to write; half a character, which UTF-8 does not have, is written as an escape (`\\udc80`).

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as unfinished:
        unfinished.write_bytes(text.encode("utf-8", "backslashreplace"))


def read_json(path: Path, most_bytes: int = MOST_BYTES, finite: bool = True) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        most_bytes: that it may have.
        finite: refuse NaN and infinite numbers.

    Raises:
        FileNotFoundError: it is not there.
        OSError: it cannot be read.
        ValueError: what is wrong with it, to be put behind its name.
    """
    with open_plain(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"has more than {most_bytes:,} bytes")

    def number(text: str) -> float:
        value = float(text)
        if finite and not math.isfinite(value):
            raise ValueError(f"holds {text[:20]} for a number")
        return value

    def whole(text: str) -> int:
        if len(text) > MOST_DIGITS:
            raise ValueError(f"holds a number of {len(text):,} digits")
        return int(text)

    try:
        return json.loads(
            content.decode("utf-8-sig"), parse_float=number, parse_int=whole, parse_constant=number
        )
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON ({error})") from None
