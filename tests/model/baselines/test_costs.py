"""Parameters and FLOPs of the baselines against published figures and the networks."""

import math

import pytest

from perceiver.baselines.costs import resnet_costs, transformer_costs, vit_costs
from perceiver.costs import total
from tests.model.baselines.networks import number_of_parameters, resnet, transformer, vit

RESNET_50 = dict(grid=(224, 224), blocks=(3, 4, 6, 3), channels=(256, 512, 1024, 2048))
VIT_B = dict(channels=768, layers=12, heads=12, widening=4)
VIT_B_16 = VIT_B | dict(grid=(224, 224), patch=16)
PICTURES = dict(input_channels=3, num_classes=1000)


def in_layers(sizes):
    return dict(dtype="float32", remat="none") | sizes


def test_resnet_50_equals_published_figures():
    """torchvision documents 25,557,032 parameters and 4.09 GFLOPs, with 1 per MAC."""
    cost = total(resnet_costs(**RESNET_50, **PICTURES))
    assert cost.parameters == 25_557_032
    assert cost.flops / 2 == pytest.approx(4.09e9, rel=0.01)
    network = resnet(1000, **RESNET_50)
    assert number_of_parameters(network, (224, 224), 3, True) == 25_557_032


def test_vit_b_16_equals_published_figures():
    """timm and torchvision document 86,567,656 parameters and 17.6 GFLOPs, with 1 per MAC."""
    cost = total(vit_costs(**VIT_B_16, **PICTURES))
    assert cost.parameters == 86_567_656
    assert cost.flops / 2 == pytest.approx(17.6e9, rel=0.01)
    network = vit(1000, **in_layers(VIT_B_16))
    assert number_of_parameters(network, (224, 224), 3) == 86_567_656


@pytest.mark.parametrize(("patch", "patches"), [(2, 484), (4, 121), (8, 36), (16, 9)])
def test_patches_of_table_4(patch, patches):
    """Patches of 8 and 16 do not divide 44, so 6 and 3 patches cover a side."""
    parts = {
        cost.part: cost
        for cost in vit_costs(
            **VIT_B, grid=(44, 44), patch=patch, input_channels=387, num_classes=40
        )
    }
    assert parts["position embedding"].parameters == (1 + patches) * 768
    assert parts["patches"].flops == 2 * patches * patch**2 * 387 * 768


def test_transformer_by_hand():
    """Tests M = 7 inputs, C = 3, D = 4, 2 heads, 1 layer, widening 2, 5 classes."""
    embedding, layers, head = transformer_costs(
        num_inputs=7, input_channels=3, num_classes=5, channels=4, layers=1, heads=2, widening=2
    )
    assert embedding[1:] == (3 * 4 + 4, 2 * 7 * 3 * 4, 1)
    # Two LayerNorms, four linear layers, and the two of the dense block.
    assert layers.parameters == 2 * 8 + 4 * 20 + (4 * 8 + 8) + (8 * 4 + 4)
    # Linear layers; logits and weighted sum; softmax; dense block.
    assert layers.flops == 4 * 2 * 7 * 16 + 2 * 2 * 49 * 4 + 3 * 2 * 49 + 2 * 2 * 7 * 4 * 8
    assert head[1:] == (4 * 5 + 5, 2 * 4 * 5, 1)


@pytest.mark.parametrize(
    "sizes",
    [
        dict(grid=(31, 37), blocks=(2, 1, 3, 1), channels=(12, 20, 28, 44)),
        dict(grid=(7, 5), blocks=(1, 1, 1, 1), channels=(4, 4, 4, 4)),
    ],
    ids=str,
)
def test_resnet_formula_equals_network(sizes):
    counted = number_of_parameters(resnet(11, **sizes), sizes["grid"], 13, True)
    costs = resnet_costs(**sizes, input_channels=13, num_classes=11)
    assert total(costs).parameters == counted


@pytest.mark.parametrize(
    "sizes",
    [
        dict(grid=(7, 11), patch=3, channels=22, layers=2, heads=11, widening=3),
        dict(grid=(13, 5), patch=2, channels=7, layers=3, heads=1, widening=1),
        dict(grid=(2, 3), patch=5, channels=6, layers=1, heads=3, widening=2),
    ],
    ids=str,
)
def test_vit_formula_equals_network(sizes):
    counted = number_of_parameters(vit(11, **in_layers(sizes)), sizes["grid"], 13)
    costs = vit_costs(**sizes, input_channels=13, num_classes=11)
    assert total(costs).parameters == counted


@pytest.mark.parametrize(
    "sizes",
    [
        dict(channels=22, layers=2, heads=11, widening=3),
        dict(channels=7, layers=3, heads=1, widening=1),
    ],
    ids=str,
)
def test_transformer_formula_equals_network(sizes):
    counted = number_of_parameters(transformer(11, **in_layers(sizes)), (7, 11), 13)
    costs = transformer_costs(
        num_inputs=math.prod((7, 11)), input_channels=13, num_classes=11, **sizes
    )
    assert total(costs).parameters == counted


def test_wider_inputs_change_the_first_layer_alone():
    """Fourier features of Table 2 add 258 channels."""
    for costs, sizes, kernel in (
        (resnet_costs, RESNET_50, 7 * 7 * 64),
        (vit_costs, VIT_B_16, 16 * 16 * 768),
    ):
        plain = total(costs(**sizes, **PICTURES))
        wide = total(costs(**sizes, **(PICTURES | dict(input_channels=261))))
        assert wide.parameters - plain.parameters == 258 * kernel
