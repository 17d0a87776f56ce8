"""All that is needed to get the same result again."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any


@dataclass(frozen=True)
class Record:
    """What a result came from.

    Attributes:
        command: for a shell.
        seed: of everything random.
        data: fingerprint of the data set.
        versions: of Python and of the packages.
    """

    command: str
    seed: int
    data: str
    versions: Mapping[str, str]


PACKAGES = ("transfer-advisor", "tensorflow", "keras", "scikit-learn", "numpy", "pillow")


def command(name: str, data: str, **values: Any) -> str:
    """A command line for a shell.

    Args:
        name: of the command.
        data: DATA.
        **values: of its options; None and False are left out, and an option is repeated for each of several
            values.

    >>> command("run", "my data", auto=True, image_size=96, weights=None)
    "advisor run 'my data' --auto --image-size 96"
    """
    words = ["advisor", name, data]
    for option, value in values.items():
        flag = f"--{option.replace('_', '-')}"
        for each in value if isinstance(value, tuple) else (value,):
            if each is not None and each is not False:
                words += [flag] if each is True else [flag, str(each)]
    return shlex.join(words)


def versions() -> dict[str, str]:
    """Of Python and of the packages that a result depends on, without importing them."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # run from a checkout, or a build of TensorFlow under another name
    return found
