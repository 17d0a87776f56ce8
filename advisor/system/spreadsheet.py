"""Text in CSV files that a spreadsheet opens: no name of a file or of a class may act as a formula there.

A cell that begins as a formula does gets an apostrophe in front, as OWASP advises ("CSV Injection").
"""

from __future__ import annotations

import re

# What a spreadsheet may start a formula with, also behind white space, and also in full width; a tab or a
# new line can begin a cell of its own. Apostrophes in front belong to it, so that the way back is clear.
_FORMULA = re.compile(r"'*(?:[\t\r\n]|[\s\0]*[=+\-@＝＋－＠])")


def safe_cell(text: str) -> str:
    """The text with an apostrophe in front where a spreadsheet could take it for a formula, else as it is.

    For text that others chose, such as paths and class names; numbers that we write need it not.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def original(cell: str) -> str:
    """The text that `safe_cell` made this cell of; every text comes back as it was."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
