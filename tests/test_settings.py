"""How a recipe's settings follow from the data and the machine."""

from __future__ import annotations

import json

import made_up
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


@pytest.mark.parametrize(
    ("head", "units"), [("linear", ()), ("mlp:1024", (1024,)), ("mlp:256,128", (256, 128))]
)
def test_heads(head, units):
    assert hidden_units(head) == units


@pytest.mark.parametrize("head", ["mlp", "mlp:0", "mlp:-3", "mlp:many", "mlp:8,", "Linear", ""])
def test_unknown_heads_are_refused(head):
    with pytest.raises(InputError, match="mlp:N"):
        Options(head=head).check("feature_extraction")


def test_images_are_mirrored_where_that_is_harmless():
    harmless, harmful = (made_up.evidence(made_up.summary(), mirror_loss=loss) for loss in (0.01, 0.4))
    assert choose("fine_tuning", Options(), harmless).augmentation == ("crop", "flip", "light")
    assert choose("fine_tuning", Options(), harmful).augmentation == ("crop", "light")
    assert choose("feature_extraction", Options(), harmless).augmentation == ()


def test_only_unbalanced_classes_are_weighted():
    assert (
        choose(
            "fine_tuning", Options(), made_up.evidence(made_up.summary(largest_class=30, smallest_class=10))
        ).class_weights
        == "none"
    )
    assert (
        choose(
            "fine_tuning", Options(), made_up.evidence(made_up.summary(largest_class=31, smallest_class=10))
        ).class_weights
        == "square root"
    )


def test_settings_come_back_from_json_as_they_were():
    chosen = choose("fine_tuning", Options(), made_up.evidence(made_up.summary()))
    assert Settings.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen
