"""How a recipe's settings follow from the data and the machine."""

from __future__ import annotations

import json
from dataclasses import replace

import made_up
import pytest

from advisor.advice.settings import Options, Settings, batch_size_for, choose, epochs_for, hidden_units
from advisor.errors import InputError
from advisor.evidence.measure import Evidence

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


def evidence(gain: float = 0.0, **changes: object) -> Evidence:
    """Evidence in which all depths have this gain over the last layer."""
    known = made_up.evidence(made_up.summary(), ("shallow", "deep"))
    return replace(known, probes=replace(known.probes, gain_of_all_depths=(gain, 0.01)), **changes)


def test_training_starts_from_the_better_frozen_head_and_mirrors_where_that_is_harmless():
    deep, shallow = evidence(gain=-0.1), evidence(gain=0.1, mirror_loss=0.4)
    assert choose("fine_tuning", Options(), deep).taps == ("deep",)
    assert choose("fine_tuning", Options(), shallow).taps == ("shallow", "deep")
    assert choose("full_training", Options(), deep).taps == ("shallow", "deep")
    assert choose("full_training", Options(init="random"), shallow).taps == ("deep",)
    assert choose("fine_tuning", Options(), deep).augmentation == ("crop", "flip", "light")
    assert choose("fine_tuning", Options(), shallow).augmentation == ("crop", "light")
    assert choose("feature_extraction", Options(), deep).augmentation == ()


def test_only_unbalanced_classes_are_weighted():
    assert (
        choose(
            "fine_tuning", Options(), evidence(data=made_up.summary(largest_class=30, smallest_class=10))
        ).class_weights
        == "none"
    )
    assert (
        choose(
            "fine_tuning", Options(), evidence(data=made_up.summary(largest_class=31, smallest_class=10))
        ).class_weights
        == "square root"
    )


def test_settings_come_back_from_json_as_they_were():
    chosen = choose("fine_tuning", Options(), evidence())
    assert Settings.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen
