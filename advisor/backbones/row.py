"""The row that a network has in `advisor backbones`."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.errors import InputError


@dataclass(frozen=True)
class Row:
    """One row of `advisor backbones`; `--json` prints its attributes under their names here.

    Attributes:
        name: what `--backbone` takes.
        image_size: pixels of the square input, where none is asked for.
        minimum_size: the fewest pixels that the network takes.
        parameters: millions of weights, with the classifier of the published weights.
        top1: per cent of the ImageNet validation set that the published weights classify correctly, as
            published; None for a network without published weights.
        gflop: billions of multiplications and additions for one image of `image_size`, without the
            classifier.
        megabytes: millions of bytes of the weights without the classifier, in single precision.
        source: the page that parameters and accuracy are published on.
        licence: of the published weights.
        ready: whether the network works now, without a download and without a file from the user.
        weights: where the weights come from: "bundled", "installed" (in a package of their own),
            "package" (the same, not there), "downloaded", "download", "file" (only through `--weights FILE`)
            or "random".
        command: what makes it ready; for "file" what gets the file.
    """

    name: str
    image_size: int
    minimum_size: int
    parameters: float
    top1: float | None
    gflop: float
    megabytes: float
    source: str
    licence: str
    ready: bool
    weights: str
    command: str

    @property
    def is_pretrained(self) -> bool:
        """Whether it is ready and has learnt something."""
        return self.ready and self.weights != "random"

    def checked_size(self, asked: int | None) -> int:
        """The pixels of the square input: as many as are asked for, else the network's own `image_size`.

        Raises:
            InputError: The network needs more pixels than are asked for.
        """
        if asked is not None and asked < self.minimum_size:
            raise InputError(f"{self.name} needs images of at least {self.minimum_size} pixels; got {asked}")
        return asked or self.image_size
