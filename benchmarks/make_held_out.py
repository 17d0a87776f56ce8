"""Write the data sets that judge the advice and never tune it, as folders of PNG files.

    pip download --no-deps elpv-dataset==1.0.0.post1 && unzip -q elpv_dataset-*.whl -d elpv
    apt-get download tuxpaint-stamps-default wesnoth-1.16-data nexuiz-textures ufoai-textures
    apt-get download asterisk-core-sounds-{en,es,fr,it,ru}-wav
    for file in *.deb; do dpkg -x $file debian; done
    python -m benchmarks.make_held_out elpv debian held-out

Afterwards `held-out` holds

- solar: 2,223 solar cells under a current, sound or broken (Buerhop-Lutz et al., 2018), no doubtful ones;
- stamps: photographs and drawings of things that children paint with;
- textures: surfaces of a computer game, by what they cover;
- surfaces: those of another game, by where they belong;
- sprites: painted figures of a game of strategy, by people;
- terrain: painted tiles of its maps, by kind;
- voices: five speakers of five languages, as spectrograms.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

MOST_OF_A_CLASS = 400
STAMPS = ("animals", "food", "household", "plants", "town", "vehicles")
COVERS = ("floor", "wall", "trim", "metal", "light")
PLACES = ("buildings", "nature", "streets", "furniture", "vehicles", "pics", "lights", "base")
PEOPLES = ("drakes", "dwarves", "elves-wood", "human-loyalists", "monsters", "orcs", "saurians", "undead")
TILES = ("water", "castle", "flat", "village", "grass", "cave", "forest", "mountains", "sand")
LANGUAGES = ("en_US", "es_MX", "fr_CA", "it_IT", "ru_RU")
# Maps of heights, reflections and glow, which belong to a texture and are none.
MAPS = re.compile(r"_(norm|gloss|glow|bump|shirt|pants|nm|sm|gm|rm)\.\w+$")

Labelled = Iterable[tuple[Callable[[], Image.Image], str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("elpv", type=Path, help="the package of PyPI, unpacked")
    parser.add_argument("debian", type=Path, help="the packages of Debian, unpacked into one folder")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    share, output = arguments.debian / "usr" / "share", arguments.output
    wesnoth = share / "games" / "wesnoth" / "1.16" / "data" / "core" / "images"
    nexuiz = share / "games" / "nexuiz" / "data" / "textures.pk3"
    ufo = share / "games" / "ufoai" / "base" / "0textures.pk3"
    write(solar(arguments.elpv / "elpv_dataset" / "data"), output / "solar", 2_000)
    write(folders(share / "tuxpaint" / "stamps", STAMPS), output / "stamps")
    write(archive(nexuiz, lambda folder: next((c for c in COVERS if c in folder), None)), output / "textures")
    write(archive(ufo, lambda folder: folder[4:] if folder[4:] in PLACES else None), output / "surfaces")
    write(folders(wesnoth / "units", PEOPLES), output / "sprites")
    write(folders(wesnoth / "terrain", TILES), output / "terrain")
    write(voices(share / "asterisk" / "sounds"), output / "voices")


def write(images: Labelled, output: Path, most: int = MOST_OF_A_CLASS) -> None:
    """Write up to `most` images of each class, drawn at random, into a folder for each class."""
    by_class: dict[str, list[Callable[[], Image.Image]]] = {}
    for read, label in images:
        by_class.setdefault(label, []).append(read)
    for label, members in sorted(by_class.items()):
        (output / label).mkdir(parents=True, exist_ok=True)
        for number, position in enumerate(np.random.default_rng(0).permutation(len(members))[:most]):
            members[position]().convert("RGBA").save(output / label / f"{number:04d}.png")


def solar(package: Path) -> Labelled:
    """Cells that experts were sure about."""
    for row in (package / "labels.csv").read_text().splitlines():
        file, broken, _ = row.split()
        if float(broken) in (0.0, 1.0):
            yield opener(package / file), "broken" if float(broken) else "sound"


def folders(root: Path, names: Iterable[str]) -> Labelled:
    """All PNG files below some folders; of frames that differ in their number alone, the first."""
    for name in names:
        first: dict[str, Path] = {}
        for file in sorted((root / name).rglob("*.png")):
            first.setdefault(re.sub(r"-?\d+(?=\.png$)", "", file.relative_to(root).as_posix()), file)
        for file in first.values():
            yield opener(file), name


def archive(file: Path, label_of: Callable[[str], str | None]) -> Labelled:
    """Textures of a game's archive, by the name of their folder."""
    textures = zipfile.ZipFile(file)
    for name in sorted(textures.namelist()):
        label = label_of(name.split("/")[1]) if name.count("/") == 2 else None
        if label and name.endswith((".jpg", ".png", ".tga")) and not MAPS.search(name):
            yield opener(BytesIO(textures.read(name))), label


def voices(root: Path) -> Labelled:
    """The first two seconds of each prompt: 129 frequencies up to 4 kHz, in decibels below the loudest."""
    for language in LANGUAGES:
        for file in sorted(next(root.glob(f"{language}_*")).rglob("*.wav")):
            if "silence" not in file.parts:
                yield partial(spectrogram, file), language


def spectrogram(file: Path) -> Image.Image:
    from scipy.io import wavfile
    from scipy.signal import stft

    rate, sound = wavfile.read(file)
    two_seconds = np.zeros(2 * rate)
    two_seconds[: len(sound)] = sound[: 2 * rate]
    strength = np.abs(stft(two_seconds, rate, nperseg=256, noverlap=128)[2])
    decibels = 20 * np.log10(strength / max(strength.max(), 1) + 1e-4)
    return Image.fromarray((255 * (1 + decibels / 80)).clip(0, 255).astype(np.uint8)[::-1])


def opener(file: Path | IO[bytes]) -> Callable[[], Image.Image]:
    return lambda: Image.open(file)


if __name__ == "__main__":
    main()
