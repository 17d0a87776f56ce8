"""Whether a value from a JSON file has the form that is expected of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LARGEST = 1e300  # a number with a decimal point; whole ones in JSON have no end


@dataclass(frozen=True)
class Maybe:
    """A value of this shape, or null."""

    shape: Any


def conform(value: Any, shape: Any, name: str = "") -> None:
    """Check a value from JSON.

    Args:
        value: from `json_file.read_json`.
        shape: what the value has to be: a type (a truth is no number, a whole number passes for `float`);
            (type, least, most); [shape of each item]; {key: shape}, whose keys must be there beside any
            others, where the key `str` stands for each key that is there; or `Maybe` of one of these.
        name: of the value, for the message.

    Raises:
        ValueError: where it has not the shape; the message is meant to stand behind the file's name.
    """
    where = f" for {name}" if name else ""
    if isinstance(shape, Maybe):
        if value is not None:
            conform(value, shape.shape, name)
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            raise ValueError(f"holds {short(value)}{where}, not an object")
        for key, inner in shape.items():
            if key is str:
                for each in value:
                    conform(value[each], inner, f"{name}.{short(each)}")
            elif key not in value:
                raise ValueError(f"holds no {f'{name}.{key}'.lstrip('.')}")
            else:
                conform(value[key], inner, f"{name}.{key}".lstrip("."))
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise ValueError(f"holds {short(value)}{where}, not a list")
        for each in value:
            conform(each, shape[0], name)
    elif isinstance(shape, tuple):
        kind, least, most = shape
        conform(value, kind, name)
        if not least <= value <= most:
            raise ValueError(f"holds {short(value)}{where}")
    elif shape is float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not -LARGEST < value < LARGEST:
            raise ValueError(f"holds {short(value)}{where}")
    elif not isinstance(value, shape) or (isinstance(value, bool) and shape is not bool):
        raise ValueError(f"holds {short(value)}{where}")


def short(value: Any) -> str:
    """A value from JSON in an error message.

    >>> short([1, 2]), short(None), short("x" * 100)
    ('a list', 'null', "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxx...")
    """
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    shown = "null" if value is None else ascii(value)
    return shown if len(shown) <= 30 else f"{shown[:30]}..."
