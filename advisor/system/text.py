"""Text of others, as names of files and classes, made fit to be shown."""

from __future__ import annotations

import codecs
import re
import sys

# Control characters, what turns the direction of text or has no width, and bytes that are no UTF-8. Not
# the two joiners (U+200C, U+200D), which emoji and the scripts of India and Iran need.
_ILLEGIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
_UNREAD = re.compile("[\udc80-\udcff]+")  # bytes that the locale could not read, as surrogates

# As wide as what they stand for, so that columns stay in line where an encoding lacks it.
_STAND_INS = {"±": "~", "…": "~", "–": "-", "—": "-", "\N{REPLACEMENT CHARACTER}": "?"}


def legible(text: object, mark: str | None = None) -> str:
    """Text with line breaks, control and invisible characters and bytes that are no UTF-8 as escapes.

    Bytes of a file's name that the locale could not read are taken for UTF-8 if they are it.

    Args:
        text: whatever has a text.
        mark: what stands for each such character in the place of its escape.

    >>> legible("two\\nlines"), legible("two\\nlines", "?")
    ('two\\\\nlines', 'two?lines')
    """
    known = _UNREAD.sub(
        lambda found: found[0].encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape"),
        str(text),
    )
    return _ILLEGIBLE.sub(lambda found: ascii(found[0])[1:-1] if mark is None else mark, known)


def fitting(text: object) -> str:
    """As `legible`, with escapes also for what standard output cannot encode; for text that is laid out."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return legible(text).encode(encoding, "advisor").decode(encoding)


def shortened(text: str, most: int) -> str:
    """The beginning of a text of more than `most` characters, with three dots in one character behind it."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shortened_in_front(text: str, most: int) -> str:
    """The end of a text of more than `most` characters: of a path it says more than the beginning."""
    return text if len(text) <= most else f"…{text[len(text) - most + 1 :]}"


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """For what an encoding lacks: `errors="advisor"`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_STAND_INS.get(c) or ascii(c)[1:-1] for c in missing), error.end


codecs.register_error("advisor", _stand_in)
