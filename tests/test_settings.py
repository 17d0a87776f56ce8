"""How a recipe's settings follow from the data and the machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from advisor.advice.settings import Options, Settings, batch_size_for, choose, epochs_for, hidden_units
from advisor.errors import InputError

GIB = 2**30


def test_a_batch_fits_into_half_of_the_free_memory():
    assert batch_size_for(3000, 160, 16 * GIB) == 32
    assert batch_size_for(100, 160, 16 * GIB) == 16
    assert batch_size_for(3000, 224, 4 * GIB) < 32
    assert batch_size_for(3000, 512, GIB // 2) == 1


def test_fewer_epochs_for_more_images():
    epochs = [epochs_for(images, random=False) for images in (50, 1000, 3000, 100_000)]
    assert epochs == sorted(epochs, reverse=True)
    assert epochs_for(1000, random=True) > epochs_for(1000, random=False)


@pytest.mark.parametrize(("head", "units"), [("linear", None), ("mlp:256", 256), ("mlp:1024", 1024)])
def test_heads(head, units):
    assert hidden_units(head) == units


@pytest.mark.parametrize("head", ["mlp", "mlp:0", "mlp:-3", "mlp:many", "Linear", ""])
def test_unknown_heads_are_refused(head):
    with pytest.raises(InputError, match="mlp:N"):
        Options(head=head).check("feature_extraction")


def test_a_run_of_an_older_version_goes_on_as_it_began():
    chosen = choose(
        "fine_tuning",
        Options(),
        taps=("low", "high"),
        best_cut="low",
        image_size=224,
        fixed_size=False,
        counts=np.array([50, 50]),
        training_images=80,
        flip=True,
        all_depths_help=True,
    )
    assert chosen.roots
    older = chosen.to_json()
    del older["roots"]
    assert Settings.from_json(older) == replace(chosen, roots=False)
