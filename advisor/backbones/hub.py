"""Vision transformers of KerasHub, by preset name or from a local folder: `--backbone hub:NAME|FOLDER`.

A folder is what `save_to_preset` writes: config.json, model.weights.h5 and, where there is one,
image_converter.json. It may come from a stranger: of config.json only numbers and names of activations are
taken, for one of the classes here, and no larger a network is built than its weights fill.

The network stays one layer of the model, as KerasHub's own layers cannot all be loaded one by one. So
`model.keras` needs `import keras_hub` before it is loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.backbones import imagenet_pixels
from advisor.backbones.backbone import Backbone, fingerprint, source_of_weights
from advisor.backbones.layer_names import graph_name
from advisor.backbones.weights_file import read_weights, refused
from advisor.choices import LARGEST_IMAGE
from advisor.errors import InputError, one_line
from advisor.system.json_file import read_json
from advisor.system.json_shape import conform

if TYPE_CHECKING:
    import keras

PREFIX = "hub:"
INSTALL = "pip install 'transfer-advisor[hub]'"
TOKENS = "tokens"  # the layer that gives the class token and the mean of the patches
NOTE = "model.keras needs KerasHub: import keras_hub before keras.saving.load_model"
WEIGHTS = "model.weights.h5"
MOST_TOKENS = 5_000  # patches of an image, each two of which are compared
_SIDE, _WIDTH = (int, 1, LARGEST_IMAGE), (int, 1, 16_384)
_SHAPES: dict[str, Any] = {
    "image_shape": [_SIDE],
    "num_layers": (int, 1, 100),
    "num_heads": (int, 1, 256),
    "hidden_dim": _WIDTH,
}
# What else may stand in config.json: numbers, truths, and the names of activations.
_NAMES = {"name", "dtype", "data_format", "intermediate_activation"}


@dataclass(frozen=True)
class Family:
    """A class of KerasHub that we know.

    Attributes:
        module: where it is.
        name: of the class.
        inner: its setting with the units of the layers between.
        is_centred: whether its pixels are -1..1 where the folder does not say; else as ImageNet's.
        takes_any_size: whether its positions are interpolated for images of another size.
    """

    module: str
    name: str
    inner: str
    is_centred: bool
    takes_any_size: bool = False

    @property
    def key(self) -> str:
        """Its name in files."""
        return f"keras_hub>{self.name}"


_MODELS = "keras_hub.src.models"
FAMILIES = {
    family.key: family
    for family in (
        Family(f"{_MODELS}.vit.vit_backbone", "ViTBackbone", "mlp_dim", True),
        Family(f"{_MODELS}.dinov2.dinov2_backbone", "DINOV2Backbone", "intermediate_dim", False, True),
        Family(f"{_MODELS}.siglip.siglip_vision_encoder", "SigLIPVisionEncoder", "intermediate_dim", True),
    )
}


def reason_to_refuse(part: Mapping[str, Any]) -> str | None:
    """Say why a part of a Keras file that names a module of KerasHub may not be loaded; None if it may.

    Admitted are the three classes by their exact names, with numbers in the usual ranges. KerasHub is
    imported then, as Keras finds its classes only after that.
    """
    family = FAMILIES.get(str(part.get("registered_name")))
    named = part.get("module"), part.get("class_name")
    if family is None or named != (family.module, family.name):
        return f"of KerasHub only {', '.join(each.name for each in FAMILIES.values())} are loaded"
    try:
        _check(family, part.get("config"))
    except (ValueError, TypeError) as error:
        return f"it {error}"
    if importlib.util.find_spec("keras_hub") is None:
        return f"it needs KerasHub: {INSTALL}"
    importlib.import_module("keras_hub")
    return None


def load(name: str, image_size: int | None, random: bool) -> Backbone:
    """Get a network ready, up to the class token and the mean of the patches.

    SigLIP has no class token; what its own pooling gives is taken.

    Args:
        name: "hub:" and a preset's name, or a folder.
        image_size: pixels of the square input, where it is to differ from the preset's own.
        random: draw fresh random weights.

    Raises:
        InputError: KerasHub is not installed, there is no such preset or folder, it holds anything else, or
            the network takes images of another size.
    """
    if importlib.util.find_spec("keras_hub") is None:
        raise InputError(f"--backbone {name} needs KerasHub; install it with: {INSTALL}")
    folder = _folder(name)
    family, config = _described(folder)
    size = config["image_shape"][0]
    if image_size not in (None, size):
        if not family.takes_any_size:
            raise InputError(
                f"{name} takes images of {size} pixels only; leave out --image-size {image_size}"
            )
        size, config["image_shape"] = image_size, [image_size, image_size, 3]
    _refuse_huge(family, config, folder)
    network = _built(family, config, folder)
    if not random:
        read_weights(network, folder / WEIGHTS)
    model = _with_tokens(network, size, _pixels(folder, family), name)
    return Backbone(
        name=Path(name).name,
        build=lambda: model,
        taps=(TOKENS,),
        image_size=size,
        fixed_size=True,
        source=source_of_weights(f"the training data of {name.removeprefix(PREFIX)}", None, random),
        fingerprint=fingerprint(model),
        notes=(NOTE,),
    )


def _folder(name: str) -> Path:
    """The local folder of a preset, which is downloaded where it is a name and not there yet.

    Raises:
        InputError: there is none, or the download fails.
    """
    asked = name.removeprefix(PREFIX)
    folder = Path(asked).expanduser()
    if folder.is_dir():
        return folder
    from keras_hub.src.utils import preset_utils

    if asked not in preset_utils.BUILTIN_PRESETS:
        raise InputError(
            f"--backbone {name}: there is no folder {asked}, nor a preset of KerasHub of this name"
        )
    try:
        for file in ("config.json", WEIGHTS):
            found = preset_utils.get_file(asked, file)
    except Exception as error:  # of kagglehub, requests and the network
        raise InputError(
            f"--backbone {name} cannot be downloaded ({one_line(error)}); give the folder of a preset instead"
        ) from error
    return Path(found).parent


def _described(folder: Path) -> tuple[Family, dict[str, Any]]:
    """The class and the settings in config.json of a preset.

    Raises:
        InputError: it is missing, damaged, or of another class.
    """
    file = folder / "config.json"
    try:
        told = read_json(file)
        conform(told, {"registered_name": str, "config": {}})
        family = FAMILIES.get(told["registered_name"])
        if family is None:
            names = ", ".join(each.name for each in FAMILIES.values())
            raise InputError(f"{folder} holds a {told['registered_name'][:80]}; only {names} are supported")
        _check(family, told["config"])
    except OSError as error:
        raise InputError(f"cannot read {file} ({error.strerror}); give a folder of save_to_preset") from None
    except (ValueError, TypeError) as error:
        raise InputError(f"{file} {error}; save the preset again") from None
    known = {key: value for key, value in told["config"].items() if key not in ("name", "dtype", "trainable")}
    return family, known


def _check(family: Family, config: Any) -> None:
    """Whether settings are numbers in the usual ranges.

    Raises:
        ValueError: they are not; the message is meant to stand behind the file's name.
    """
    conform(config, {**_SHAPES, family.inner: _WIDTH, "patch_size": object})
    patch = config["patch_size"]
    patches = patch if isinstance(patch, list) else [patch, patch]
    conform(patches, [_SIDE], "patch_size")
    sides = config["image_shape"]
    if len(sides) != 3 or sides[2] != 3 or sides[0] != sides[1] or len(patches) != 2:
        raise ValueError("is not for square images in colour")
    if (sides[0] // patches[0]) * (sides[1] // patches[1]) > MOST_TOKENS:
        raise ValueError(f"has more than {MOST_TOKENS:,} patches of an image")
    for key, value in config.items():
        numbers = value if isinstance(value, list) else [value]
        if key in _NAMES:
            continue
        if not all(each is None or isinstance(each, bool | int | float) for each in numbers):
            raise ValueError(f"holds no number for {str(key)[:40]}")
        if any(isinstance(each, int) and abs(each) > _WIDTH[2] for each in numbers):
            raise ValueError(f"holds too large a number for {str(key)[:40]}")


def _refuse_huge(family: Family, config: Mapping[str, Any], folder: Path) -> None:
    """Refuse a network that has more weights than the file of its weights can hold, in half precision.

    Raises:
        InputError: it has, or there is no such file.
    """
    width, inner = config["hidden_dim"], config[family.inner]
    least = config["num_layers"] * (4 * width * width + 2 * width * inner)
    try:
        stored = (folder / WEIGHTS).stat().st_size
    except OSError:
        raise InputError(f"{folder} holds no {WEIGHTS}; save the preset again, in one file") from None
    if 2 * least > stored:
        raise refused(folder, f"it describes {least:,} weights or more, and {WEIGHTS} has {stored:,} bytes")


def _built(family: Family, config: Mapping[str, Any], folder: Path) -> keras.Model:
    """The network with random weights.

    Raises:
        InputError: the settings do not go with each other.
    """
    kind = getattr(importlib.import_module(family.module), family.name)
    importlib.import_module("keras_hub")
    try:
        return kind(**config, dtype="float32")
    except Exception as error:  # of as many kinds as there are layers
        raise InputError(f"{folder} cannot be built ({one_line(error)}); save the preset again") from error


def _pixels(folder: Path, family: Family) -> keras.layers.Layer:
    """The layer that scales pixels in 0..255, as image_converter.json says, else as the family wants them.

    Raises:
        InputError: the file is damaged.
    """
    from keras import layers

    file = folder / "image_converter.json"
    if not file.is_file():
        usual = layers.Rescaling(1 / 127.5, -1.0, name="pixels")
        return usual if family.is_centred else imagenet_pixels.standardising_layer("pixels")
    try:
        config = read_json(file)["config"]
        values = [config.get("scale"), config.get("offset")]
        for value in values:
            listed = value if isinstance(value, list) else [0.0 if value is None else value]
            conform(listed, [(float, -1e6, 1e6)], "scale and offset")
            if len(listed) not in (1, 3):
                raise ValueError("holds neither one number nor three")
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"{file} is damaged ({one_line(error)}); save the preset again") from None
    scale, offset = values
    return layers.Rescaling(1.0 if scale is None else scale, 0.0 if offset is None else offset, name="pixels")


def _with_tokens(network: keras.Model, size: int, pixels: keras.layers.Layer, name: str) -> keras.Model:
    """Images [n, size, size, 3] in 0..255 to the class token and the mean of the patches, [n, 2d]."""
    import keras
    from keras import layers

    image = keras.Input((size, size, 3), name="image")
    scaled = pixels(image)
    seen = network({"images": scaled} if isinstance(network.input, dict) else scaled)
    if len(seen.shape) == 2:  # SigLIP pools by itself
        return keras.Model(image, layers.Identity(name=TOKENS)(seen), name=graph_name(Path(name).name))
    first = int(getattr(network, "use_class_token", True))
    patches = seen[:, first + getattr(network, "num_register_tokens", 0) :]
    mean = layers.GlobalAveragePooling1D(name="patches_mean")(patches)
    both = (
        layers.Concatenate(name=TOKENS)([seen[:, 0], mean]) if first else layers.Identity(name=TOKENS)(mean)
    )
    return keras.Model(image, both, name=graph_name(Path(name).name))
