"""The edge to the screen: what comes out there is ours, legible, and never an error of its own."""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from advisor.system.text import legible


def say(text: str) -> None:
    """Print a line, or several, on standard output."""
    print("\n".join(legible(line) for line in text.split("\n")))


def tell(message: object) -> None:
    """Print one line on standard error; where nobody can read it, that is no error."""
    line = " ".join(filter(None, (part.strip() for part in str(message).splitlines())))
    with suppress(OSError):
        print(f"advisor: {legible(line)}", file=sys.stderr, flush=True)


@contextmanager
def ours() -> Iterator[None]:
    """Let nothing reach the screen but what we write to `sys.stdout` and `sys.stderr`.

    Native libraries (TensorFlow, CUDA, libtiff) write to the file descriptor of standard error, whatever
    they are told; they and the processes that we start get another one. Python's own warnings, and what
    libraries log, stay away as well. What a stream cannot encode never ends a command, nor does a stream
    that is closed or goes to a reader who has left.
    """
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="advisor")
    logged = logging.root.manager.disable
    with warnings.catch_warnings(), _native_code_muted():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logged)
            _let_go(sys.stdout)
            _let_go(sys.stderr)


def _open_missing_streams() -> None:
    """A descriptor that the caller closed would go to the next file that is opened, a model for instance,
    and be written to by mistake."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)
    os.close(opened)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


@contextmanager
def _native_code_muted() -> Iterator[None]:
    """Point descriptor 2 at nothing, and `sys.stderr` at where that pointed."""
    before = sys.stderr
    if not _is_descriptor_2(before):  # a notebook or a test reads it
        yield
        return
    with (
        open(os.dup(2), "w", encoding=before.encoding, errors=before.errors, buffering=1) as screen,
        open(os.devnull, "wb") as nowhere,
    ):
        os.dup2(nowhere.fileno(), 2)
        sys.stderr = screen
        faulthandler.enable(screen)  # a crash in native code is not silent
        try:
            yield
        finally:
            faulthandler.disable()
            os.dup2(screen.fileno(), 2)
            sys.stderr = before


def _is_descriptor_2(stream: object) -> bool:
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == 2
    except (OSError, ValueError):  # it is none, or is closed
        return False


def _let_go(stream: TextIO) -> None:
    """Write what is left; where that fails, throw it away, lest Python tries again and complains."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
