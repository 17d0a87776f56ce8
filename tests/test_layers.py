"""Layers by the names that people know: numbers, names, blocks, and the children of ResNet18."""

from __future__ import annotations

import json

import pytest

from advisor import backbones
from advisor.backbones.layer_table import layers
from advisor.cli import main
from advisor.errors import InputError


@pytest.fixture(scope="module")
def resnet18() -> backbones.Backbone:
    return backbones.load("resnet18", None, 64, random=True)


def name_of(backbone: backbones.Backbone, layer: str, last: bool = False) -> str:
    return backbone.model.layers[backbone.layer_index(layer, last)].name


@pytest.mark.parametrize(
    ("layer", "first", "last"),
    [
        ("child:0", "conv1_pad", "conv1_conv"),
        ("child:3", "pool1_pad", "pool1_pool"),
        ("child:6", "conv4_block1_1_pad", "conv4_block2_out"),
        ("child:7", "conv5_block1_1_pad", "conv5_block2_out"),
        ("conv4", "conv4_block1_1_pad", "conv4_block2_out"),
        ("conv4_block2", "conv4_block2_1_pad", "conv4_block2_out"),
        ("6", "pool1_pool", "pool1_pool"),
        ("conv5_block1_add", "conv5_block1_add", "conv5_block1_add"),
    ],
)
def test_layers_are_found_by_what_people_call_them(resnet18, layer, first, last):
    assert (name_of(resnet18, layer), name_of(resnet18, layer, last=True)) == (first, last)


def test_a_block_is_not_another_one_whose_name_begins_alike():
    mobilenet = backbones.load("mobilenetv2", None, 96, random=True)
    assert name_of(mobilenet, "block_1") == "block_1_expand"
    assert name_of(mobilenet, "block_14") == "block_14_expand"
    assert mobilenet.below("129") == "the first 129 of 154 layers"


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ("child:8", "child:0 to child:7"),
        ("child:x", "child:0 to child:7"),
        ("conv9", "conv4"),
        ("conv4_blok1_1_pad", "conv4_block1_1_pad"),
        ("99", "no layer 99"),
    ],
)
def test_a_wrong_layer_is_told_with_near_ones(resnet18, layer, says):
    with pytest.raises(InputError, match=says):
        resnet18.layer_index(layer)


def test_children_are_for_networks_that_have_them():
    with pytest.raises(InputError, match="advisor backbones simple_cnn"):
        backbones.load("simple_cnn", random=True).layer_index("child:6")


def test_the_words_for_what_is_frozen(resnet18):
    assert resnet18.below("child:6") == "the first 6 of 10 children (conv1 to layer2)"
    assert resnet18.below("conv4_block1_1_conv") == "the first 42 of 77 layers"
    assert resnet18.frozen_layers("conv4_block1_1_conv") == 42
    assert resnet18.frozen_layers(None) == 77


def test_the_list_of_layers_has_pixels_and_parameters_below(resnet18):
    rows = {row.name: row for row in layers(resnet18)}
    assert rows["conv1_conv"].pixels == 32
    assert rows["conv5_block2_out"].pixels == 2
    assert rows["conv4_block1_1_pad"].block == "child:6 layer3"
    # The stem and the first two stages of torchvision's ResNet18, with the statistics of batch norm.
    below = sum(layer.count_params() for layer in resnet18.model.layers[: resnet18.layer_index("child:6")])
    assert rows["conv4_block1_1_pad"].parameters_below == below


def test_the_command_lists_layers(capsys, refused):
    with pytest.raises(SystemExit) as end:
        main(["backbones", "resnet18", "--image-size", "64", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert end.value.code == 0
    assert [layer["name"] for layer in told["layers"] if layer["number"] == 6] == ["pool1_pool"]
    with pytest.raises(SystemExit):
        main(["backbones", "simple_cnn"])
    assert "block3_pool" in capsys.readouterr().out
    assert "did you mean resnet50" in refused("backbones", "resnet5o")
