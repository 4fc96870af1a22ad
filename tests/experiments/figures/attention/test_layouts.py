"""Attention maps show each logit of a network at the position of its input."""

import numpy as np
import pytest

from experiments.figures.attention.layouts import (
    InputGrid,
    drawn_steps,
    input_grids,
    inputs_at_pixels,
    split_by_modality,
)
from experiments.figures.attention.pictures import (
    attention_weights,
    effective_inputs,
    most_selective,
)
from tests.experiments.attention_networks import clips, example, expected_logits, network

NETWORKS = {
    "pictures": lambda: network("digits.py"),
    "several heads": lambda: network("digits.py", cross_heads=3),
    "a fixed permutation": lambda: network("digits.py", permutation="fixed", permutation_seed=5),
    "a random permutation": lambda: network("digits.py", permutation="random", permutation_seed=5),
    "sound and video": clips,
    "permuted sound and video": lambda: clips(permutation="fixed"),
}


def logits_of(classifier, inputs, **latents):
    batch = {name: array[None] for name, array in inputs.items()}
    logits = classifier.attention_logits(batch, (0, 1), **latents)
    return {number: np.asarray(array[0]) for number, array in logits.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_equal_numpy(name):
    """Inputs in NumPy are not permuted, so the maps must restore the order."""
    classifier = NETWORKS[name]()
    inputs = example(classifier)
    wanted = expected_logits(classifier, inputs)
    ends = np.cumsum([part.num_inputs for part in input_grids(classifier)])[:-1]
    for number, logits in logits_of(classifier, inputs).items():
        maps = split_by_modality(classifier, logits, cross_attend=number)
        assert list(maps) == list(inputs)
        for got, part in zip(maps.values(), np.split(wanted[number], ends, axis=-1), strict=True):
            np.testing.assert_allclose(got, part, rtol=1e-4, atol=5e-5)


def test_maps_of_chosen_latents_equal_numpy():
    classifier = network("digits.py")
    inputs = example(classifier)
    wanted = expected_logits(classifier, inputs)
    for number, logits in logits_of(classifier, inputs, latents=(4, 1)).items():
        np.testing.assert_allclose(logits, wanted[number][:, [4, 1]], rtol=1e-4, atol=5e-5)


def test_a_cross_attend_of_an_unrolled_network_has_a_visible_range():
    classifier = network("digits.py", unrolled=True)
    inputs = example(classifier)
    wanted = expected_logits(classifier, inputs)
    for number, logits in logits_of(classifier, inputs).items():
        maps = split_by_modality(classifier, logits, cross_attend=number)["image"]
        visible = slice(32 * number, 32 * number + 32)
        np.testing.assert_allclose(maps[..., visible], wanted[number], rtol=1e-4, atol=5e-5)
        assert np.isnan(maps).sum() == maps.size / 2


def test_weights_are_the_softmax_over_all_modalities():
    classifier = clips(cross_heads=2)
    inputs = example(classifier)
    (wanted, _) = expected_logits(classifier, inputs)
    powers = np.exp(wanted)
    wanted = (powers / powers.sum(-1, keepdims=True)).mean(0)
    weights = attention_weights(logits_of(classifier, inputs)[0])
    np.testing.assert_allclose(weights, wanted, rtol=1e-3, atol=1e-6)
    maps = split_by_modality(classifier, weights, cross_attend=0)
    total = maps["audio"].sum(-1) + maps["video"].sum(-1)
    np.testing.assert_allclose(total, 1, rtol=1e-5)
    assert np.all(maps["audio"].sum(-1) < 0.999)


def test_weights_of_large_logits_are_finite():
    weights = attention_weights(np.float32([[[1000, 0, 1000]]]))
    np.testing.assert_allclose(weights, [[0.5, 0, 0.5]])


def test_effective_number_of_inputs():
    weights = np.float32([[0.25] * 4, [0.5, 0, 0.5, 0], [0, 1, 0, 0]])
    np.testing.assert_allclose(effective_inputs(weights), [4, 2, 1])
    assert list(most_selective(weights)) == [2, 1, 0]
    assert list(most_selective(weights, count=2)) == [2, 1]


@pytest.mark.parametrize("permutation", ["fixed", "random"])
def test_the_order_of_permuted_inputs_is_restored(permutation):
    """A change of one pixel changes the logits of that pixel only."""
    classifier = network("digits.py", permutation=permutation)
    dark = {"image": np.zeros((8, 8, 1), np.uint8)}
    bright = {"image": dark["image"].copy()}
    bright["image"][2, 5] = 255
    maps = [
        split_by_modality(classifier, logits_of(classifier, inputs)[0], cross_attend=0)["image"]
        for inputs in (dark, bright)
    ]
    change = np.abs(maps[1] - maps[0]).max(axis=(0, 1))
    assert list(np.flatnonzero(change > 1e-4)) == [2 * 8 + 5]


def test_grids_of_the_paper():
    """Sec. 4.2 and App. E: 480 patches of 128 samples, 60 x 80 cells, patches of 2 x 8 x 8."""
    sound = network("audioset.py:sound_video")
    assert [part.grid for part in input_grids(sound)] == [(480,), (16, 28, 28)]
    assert [part.grid for part in input_grids(network("audioset.py:mel"))] == [(60, 80)]
    fine = input_grids(network("audioset.py:sound_video_fine"))
    assert [part.num_inputs for part in fine] == [61_440, 50_176]


def test_inputs_are_in_row_major_order():
    image = inputs_at_pixels(InputGrid("image", (2, 3), (1, 1)))
    np.testing.assert_array_equal(image, [[[0, 1, 2], [3, 4, 5]]])
    # Time goes to the right; the lowest bin is at the bottom.
    sound = inputs_at_pixels(InputGrid("spectrogram", (2, 3), (1, 1)))
    np.testing.assert_array_equal(sound, [[[2, 5], [1, 4], [0, 3]]])
    np.testing.assert_array_equal(inputs_at_pixels(InputGrid("audio", (3,), (128,))), [[[0, 1, 2]]])
    video = InputGrid("video", (3, 2, 2), (2, 4, 4))
    np.testing.assert_array_equal(
        inputs_at_pixels(video, steps=np.array([0, 2])), [[[0, 1], [2, 3]], [[8, 9], [10, 11]]]
    )


def test_every_other_frame_is_drawn():
    """App. E: every time step is drawn if patches span two frames, otherwise every other one."""
    assert list(drawn_steps(InputGrid("video", (16, 28, 28), (2, 8, 8)))) == list(range(16))
    assert list(drawn_steps(InputGrid("video", (32, 28, 28), (1, 8, 8)))) == list(range(0, 32, 2))
    part = InputGrid("video", (4, 1, 2), (2, 8, 8))
    half = np.full((3, 8), np.nan)
    half[:, 4:6] = 1
    assert list(drawn_steps(part, half)) == [2]


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_points_have_the_same_view_as_the_cloud(up):
    """Points higher on the axis are higher in the picture; near points hide far ones."""
    axis = "xyz".index(up)
    points = np.zeros((4, 3), np.float32)
    points[0, axis], points[1, axis] = 1, -1
    toward = [0.0, 0.0, 0.0]  # towards the viewer, 55 degrees to the right and 22 above
    across = [(axis + 1) % 3, (axis + 2) % 3]
    view = np.radians([-55, 22])
    toward[across[0]] = np.cos(view[1]) * np.cos(view[0])
    toward[across[1]] = np.cos(view[1]) * np.sin(view[0])
    toward[axis] = np.sin(view[1])
    points[2], points[3] = np.multiply(0.1, toward), np.multiply(-0.1, toward)
    (picture,) = inputs_at_pixels(
        InputGrid("points", (4,), (1,)), points=points, up_axis=up, side=65
    )
    rows = {number: np.argwhere(picture == number).mean(0) for number in (0, 1, 2)}
    assert rows[0][0] < 4
    assert rows[1][0] > 58
    np.testing.assert_allclose(rows[2], [31.5, 31.5], atol=1)
    assert not (picture == 3).any()  # hidden behind the other
