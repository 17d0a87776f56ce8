"""Names of classes, files and splits: shown safely, in natural order, and which of them look alike."""

from __future__ import annotations

import re
import unicodedata

SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
OWN_NAMES = "train, val (or valid, validation) and test"

_NO_WIDTH = re.compile(r"\\u(?:061c|180e|200[bef]|202[a-e]|206[0-9a-f]|feff)|[\u00ad\u200c\u200d]")
_FILLERS = "seg|images?|imgs?|pictures|photos|data|set|split|folder|jpe?g|png"  # seg_train, train_images
_SPLIT_NAME = re.compile(
    rf"(?:(?:{_FILLERS})[\W_]*)*({'|'.join(SPLIT_WORDS)})(?:[\W_]*(?:{_FILLERS}|\d{{4}}))*[\W_]*"
)


def natural_order(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """A key to sort by: numbers in names by their value, so that 2 comes before 10.

    Only the digits 0 to 9 count, and they are compared as text, for names may have thousands of them.
    Names of equal value, as 7 and 007, follow each other as text does.
    """
    parts = re.split("([0-9]+)", name)
    key: list[str | tuple[int, str]] = list(parts)
    for i in range(1, len(parts), 2):
        digits = parts[i].lstrip("0")
        key[i] = (len(digits), digits)
    return key, name


def look(name: str) -> str:
    """What a person sees of a legible name: equal for two that differ in case, spaces or encoding alone."""
    return " ".join(unicodedata.normalize("NFKC", _NO_WIDTH.sub("", name)).casefold().split())


def told_apart(one: str, other: str) -> tuple[str, str]:
    """Two names in quotes, with escapes where they would be printed alike."""
    same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    return (ascii(one), ascii(other)) if same else (f"'{one}'", f"'{other}'")


def split_of_folder(name: str) -> str | None:
    """Which of `SPLITS` a folder of this name is: seg_train, train_images, val2017; None if it is none."""
    found = _SPLIT_NAME.fullmatch(name.casefold())
    return SPLIT_WORDS[found[1]] if found else None


def listed(names: list[str], most: int = 3) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
