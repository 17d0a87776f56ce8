"""The one exception that a user is meant to read."""

from __future__ import annotations

import re

LONGEST_REASON = 120  # letters; the whole line has about 200 then
# What stands before and behind the reason in messages of Keras, which describe the whole network.
_BEFORE = ("Exception encountered: ", "built=True>:\n\n", ".call().\n\n")
_BEHIND = ("\n\nArguments received by", "\n\nList of objects that", "\nFull config:")
_MARKUP = re.compile(r"\x1b\[[\d;]*m|(?:\[\[)?\{\{[^{}]*\}\}(?:\]\])? ?")  # colours, and nodes of TensorFlow


class InputError(ValueError):
    """Bad usage or bad input.

    The message is one line that names what is wrong and what to do about it. The command line
    prints it on standard error, without a traceback, and exits with code 2.
    """


def one_line(error: object, limit: int = LONGEST_REASON) -> str:
    """A library's message, or the reason in it, short enough to stand inside one of ours.

    >>> one_line(ValueError("two\\nlines"))
    'two lines'
    """
    text = str(error)
    for mark in _BEFORE:
        text = text.rpartition(mark)[2]
    for mark in _BEHIND:
        text = text.partition(mark)[0]
    text = " ".join(_MARKUP.sub("", text).split()) or type(error).__name__
    if isinstance(error, KeyError):
        text = f"it has no {text}"
    return text if len(text) <= limit else text[: limit - 4].rsplit(maxsplit=1)[0] + " ..."
