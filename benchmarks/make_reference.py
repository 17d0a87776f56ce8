"""Rebuild advisor/evidence/reference_imagenet.npy from a folder of reference images.

    python benchmarks/make_reference.py ../shared/data/imagenet-samples

The features are rounded to half precision, so that the file comes out the same to the last byte where
the arithmetic differs in the last bits of single precision only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from advisor import backbones
from advisor.data import sources
from advisor.evidence import embedding
from advisor.system.storage import replacing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("advisor/evidence/reference_imagenet.npy"))
    arguments = parser.parse_args()
    paths = sorted(
        str(path) for path in arguments.folder.iterdir() if path.suffix.lower() in (".jpg", ".png")
    )
    data = sources.unlabelled(paths, str(arguments.folder))
    backbone = backbones.load(backbones.BUNDLED)
    embedded = embedding.embed(backbone, data, np.arange(len(data)), backbone.image_size)
    with replacing(arguments.output) as unfinished:
        np.save(unfinished, embedded.features.last().astype(np.float16))
    print(f"{arguments.output}: {len(embedded.positions)} images, {len(embedded.unreadable)} unreadable")


if __name__ == "__main__":
    main()
