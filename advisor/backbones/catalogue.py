"""Which networks there are: the list of their files, the table of `advisor backbones`, and `load`.

To add a network, write a file with a `ROW` and a `load`, as `simple_cnn.py` does, and add its name to
`NETWORKS`. The table is printed without NumPy, Keras or TensorFlow, so such a file imports them inside its
functions.
"""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import Protocol, cast

from advisor.backbones.backbone import Backbone
from advisor.backbones.pair import JOINT, pair
from advisor.backbones.row import Row
from advisor.errors import InputError

# The files that hold a network each, or a family of them with the name of the network in it, in the order of
# the table. `keras.applications` comes after them.
NETWORKS = (
    "advisor.backbones.efficientnet_lite:LITE0",
    "advisor.backbones.efficientnet_lite:LITE1",
    "advisor.backbones.efficientnet_lite:LITE2",
    "advisor.backbones.simple_cnn",
    "advisor.backbones.resnet18",
)

BUNDLED = "efficientnet_lite0"  # the network whose weights are installed with this package


class Network(Protocol):
    """What the file of a network holds."""

    @property
    def ROW(self) -> Row:
        """Its row in the table."""

    def load(self, weights: Path | None, image_size: int | None, random: bool) -> Backbone:
        """Get the network ready.

        Args:
            weights: a file of weights instead of the published ones; never together with `random`.
            image_size: pixels of the square input, where it is to differ from the network's own.
            random: draw fresh random weights, and read or download nothing.

        Raises:
            InputError: The file does not fit, there are no weights without one, or the network needs
                larger images.
        """


def catalogue() -> list[Row]:
    """The rows of all networks that go by a name, the bundled one first. It takes no time and no network."""
    from advisor.backbones import applications

    return [*(network.ROW for network in _networks()), *applications.rows()]


def load(
    name: str,
    weights: str | None = None,
    image_size: int | None = None,
    random: bool = False,
    cut: str | None = None,
    start_from: str | None = None,
) -> Backbone:
    """Get a network ready.

    Args:
        name: one of `advisor backbones`, or the user's own model file (.keras, .h5, .hdf5), or two of these
            with a plus sign between them; or "hub:" and a preset of KerasHub, see `hub`.
        weights: a file of weights instead of the published ones.
        image_size: pixels of the square input, where it is to differ from the network's own.
        random: draw fresh random weights for the same architecture; nothing is downloaded. Call
            `keras.utils.set_random_seed` before to get the same ones again.
        cut: keep the network up to this layer (name or index) only.
        start_from: the folder of a run of this network, whose weights it gets in the place of all others.

    Raises:
        InputError: The name is unknown, a file is unreadable or unsafe, there are no weights offline, the
            network has no such layer, or it does not take images of this size.
    """
    if start_from is not None:
        from advisor.backbones.continued import continued

        random_weights = load(name, None, image_size, True, cut)
        return continued(random_weights, Path(start_from).expanduser() / "model.keras")
    whole = _load_whole(name, weights, image_size, random)
    return whole if cut is None else whole.cut(cut)


def _load_whole(name: str, weights: str | None, image_size: int | None, random: bool) -> Backbone:
    from advisor.backbones import applications, hub, model_file

    if random and weights is not None:
        raise InputError("random weights and --weights FILE exclude each other; leave out one of them")
    path = None if weights is None else Path(weights)
    if name.startswith(hub.PREFIX):
        if path is not None:
            raise InputError(f"{name} brings its own weights; leave out --weights {weights}")
        return hub.load(name, image_size, random)
    if name.count(JOINT) == 1 and not Path(name).exists():
        if hub.PREFIX in name:
            raise InputError(f"{name}: a network of KerasHub stands alone; name one")
        if path is not None:
            raise InputError(f"{name} are two networks with their own weights; leave out --weights {weights}")
        both = [_load_whole(each, None, None, random) for each in name.split(JOINT)]
        if image_size not in (None, max(one.image_size for one in both)):  # else each at its own size
            both = [_load_whole(each, None, image_size, random) for each in name.split(JOINT)]
        return pair(*both)
    for network in _networks():
        if network.ROW.name == name:
            return network.load(path, image_size, random)
    if name.lower() in applications.APPLICATIONS:  # also as Keras writes it, MobileNetV2
        return applications.load(name.lower(), path, image_size, random)
    if Path(name).suffix.lower() in model_file.SUFFIXES:
        if path is not None:
            raise InputError(f"{name} brings its own weights; leave out --weights {weights}")
        return model_file.load(Path(name), image_size, random)
    close = difflib.get_close_matches(name.lower(), [row.name for row in catalogue()], n=3)
    hint = f"did you mean {', '.join(close)}? " if close else ""
    raise InputError(f"unknown backbone {name!r}; {hint}see: advisor backbones")


def _networks() -> list[Network]:
    """What `NETWORKS` lists, imported."""
    places = [place.partition(":") for place in NETWORKS]
    files = [(importlib.import_module(file), name) for file, _, name in places]
    return [cast(Network, getattr(file, name) if name else file) for file, name in files]
