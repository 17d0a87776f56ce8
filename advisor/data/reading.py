"""How DATA is to be read, where the user says so."""

from __future__ import annotations

import re
from dataclasses import dataclass

from advisor.errors import InputError


@dataclass(frozen=True)
class Reading:
    """What the user says of DATA; None where it is to be found out.

    Attributes:
        images: the folder that the paths in a table are relative to.
        path_column: of a table, the column that names the images.
        label_column: of a table, the column that names their classes.
        split_column: of a table, the column with train, val or test.
        group_column: of a table, the column that names what belongs together: a patient, a device, a scene.
        group_pattern: a regular expression that finds the same in the relative path of an image, in its
            parentheses if it has some.
    """

    images: str | None = None
    path_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    group_pattern: str | None = None

    @property
    def names_columns(self) -> bool:
        """Whether the user means a table."""
        columns = (self.path_column, self.label_column, self.split_column, self.group_column)
        return any(value is not None for value in (self.images, *columns))

    def check(self) -> None:
        """Refuse what is wrong whatever the data are.

        Raises:
            InputError: names the option, what it got and what it takes.
        """
        if self.group_pattern is None:
            return
        if self.group_column is not None:
            raise InputError("--group-column and --group-pattern both say what belongs together; give one")
        try:
            re.compile(self.group_pattern)
        except re.error as error:
            raise InputError(
                f"--group-pattern {self.group_pattern} is no regular expression ({error}); give one "
                "that finds the group in a path, as '([^_/]+)_[^/]*$'"
            ) from None


AS_FOUND = Reading()
