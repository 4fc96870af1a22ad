"""Pictures of attention maps: an input with a high value is bright at its position."""

import io

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from experiments.attention_maps.overview import draw_overview
from experiments.figures.attention.colours import LOGITS, WEIGHTS, factor_to_fit, resized
from experiments.figures.attention.layouts import InputGrid, split_by_modality
from experiments.figures.attention.panels import LARGE, SMALL, Map, draw_panels
from experiments.figures.attention.pictures import draw_gif, summary
from experiments.figures.contact_sheets import Scales
from tests.experiments.attention_networks import clips, example, expected_logits, network

SCALES = Scales(sample_rate=48_000, frame_rate=25, mel_hop=1024)
DRAW = np.random.default_rng(0)
INPUTS = {
    "image": DRAW.integers(0, 256, (16, 16, 3), np.uint8),
    "points": DRAW.uniform(-0.5, 0.5, (50, 3)).astype(np.float32),
    "audio": DRAW.integers(-(2**15), 2**15, 15_360, np.int16),
    "spectrogram": DRAW.normal(size=(60, 80)).astype(np.float16),
    "video": DRAW.integers(0, 256, (8, 16, 16, 3), np.uint8),
}
PARTS = {
    "image": InputGrid("image", (16, 16), (1, 1)),
    "points": InputGrid("points", (50,), (1,)),
    "audio": InputGrid("audio", (120,), (128,)),
    "spectrogram": InputGrid("spectrogram", (60, 80), (1, 1)),
    "video": InputGrid("video", (4, 4, 4), (2, 4, 4)),
}
BRIGHT = np.round(255 * np.array(colormaps["viridis"](1.0)[:3])).astype(int)
DARK = np.round(255 * np.array(colormaps["viridis"](0.0)[:3])).astype(int)


def one_high_value(part, number):
    values = np.zeros(part.num_inputs, np.float32)
    values[number] = 3
    return values


def axes_of_map(modality, values, palette=LOGITS, sizes=LARGE):
    """Returns the axes that show a map."""
    maps = [Map("latent 0", values, palette, palette.limits(values))]
    figure = draw_panels("a map", PARTS[modality], INPUTS[modality], maps, SCALES, sizes)
    return figure.axes[1]


def bounds(picture, colour):
    """Returns top, bottom, left and right of the pixels of a colour."""
    rows, columns = np.nonzero((np.abs(picture.astype(int) - colour) <= 1).all(-1))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


class TestLarge:
    def test_position_of_a_pixel(self):
        """Row 3, column 5 of 16, each 28 pixels large."""
        picture = (
            axes_of_map("image", one_high_value(PARTS["image"], 3 * 16 + 5)).images[0].get_array()
        )
        assert picture.shape == (448, 448, 3)
        assert bounds(picture, BRIGHT) == (84, 112, 140, 168)

    def test_position_of_a_patch_of_video(self):
        """Time step 2 of 4, row 1, column 3 of 4; frames have 112 pixels and gaps of 2 pixels."""
        picture = (
            axes_of_map("video", one_high_value(PARTS["video"], (2 * 4 + 1) * 4 + 3))
            .images[0]
            .get_array()
        )
        assert picture.shape == (112, 4 * 114 - 2, 3)
        assert bounds(picture, BRIGHT) == (28, 56, 2 * 114 + 84, 2 * 114 + 112)

    def test_the_shown_frame_is_the_first_of_its_patch(self):
        maps = [Map("", one_high_value(PARTS["video"], 0), LOGITS, (0, 3))]
        figure = draw_panels("", PARTS["video"], INPUTS["video"], maps, SCALES, LARGE)
        strip = figure.axes[0].images[0].get_array()
        for step in range(4):
            frame = strip[:, step * 114 : step * 114 + 112][::7, ::7]
            np.testing.assert_array_equal(frame, INPUTS["video"][2 * step])
        labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        assert labels == ["0.00 s", "0.08 s", "0.16 s", "0.24 s"]

    def test_position_of_a_cell_of_a_spectrogram(self):
        """Column 15 of time begins after 15 hops of 1024 samples; bin 70 is high up."""
        axes = axes_of_map("spectrogram", one_high_value(PARTS["spectrogram"], 15 * 80 + 70))
        (image,) = axes.images
        assert np.argwhere(image.get_array() == 3).tolist() == [[70, 15]]
        assert image.origin == "lower"
        assert axes.get_xlim() == pytest.approx((0, 60 * 1024 / 48_000))

    def test_position_of_a_patch_of_samples(self):
        """Patch 90 of 120 is at 0.24 to 0.2427 s."""
        axes = axes_of_map("audio", one_high_value(PARTS["audio"], 90))
        x, y = axes.collections[0].get_paths()[0].vertices.T
        assert y.max() == 3
        assert 90 * 128 / 48_000 <= x[y.argmax()] <= 91 * 128 / 48_000
        assert axes.get_xlim() == pytest.approx((0, 0.32))

    def test_position_of_a_point(self):
        axes = axes_of_map("points", one_high_value(PARTS["points"], 7))
        values = axes.collections[0].get_array()
        alone = draw_panels(
            "",
            InputGrid("points", (1,), (1,)),
            INPUTS["points"][7:8],
            [Map("", np.ones(1, np.float32), LOGITS, (0, 1))],
            SCALES,
            LARGE,
        ).axes[1]
        place = axes.collections[0].get_offsets()[int(np.argmax(values))]
        np.testing.assert_allclose(place, alone.collections[0].get_offsets()[0])
        assert sorted(values)[-2:] == [0, 3]

    def test_the_colour_bar_shows_the_limits(self):
        values = np.linspace(-2.5, 7.25, 256, dtype=np.float32)
        part = PARTS["image"]
        for palette, shown in ((LOGITS, ("-2.5", "7.25")), (WEIGHTS, ("0%", "7.2e+02%"))):
            maps = [Map("", values, palette, palette.limits(values))]
            figure = draw_panels("", part, INPUTS["image"], maps, SCALES, SMALL)
            assert tuple(text.get_text() for text in figure.texts[-2:]) == shown

    def test_colours_are_those_of_the_networks_logits(self):
        classifier = network("digits.py")
        inputs = example(classifier)
        (wanted, _) = expected_logits(classifier, inputs)
        logits = classifier.attention_logits({"image": inputs["image"][None]}, (0,))[0]
        maps = split_by_modality(classifier, np.asarray(logits)[0].mean(0), cross_attend=0)["image"]
        part = InputGrid("image", (8, 8), (1, 1))
        figure = draw_panels(
            "",
            part,
            inputs["image"],
            [Map("", maps[2], LOGITS, LOGITS.limits(maps[2]))],
            SCALES,
            LARGE,
        )
        picture = figure.axes[1].images[0].get_array()[::56, ::56].astype(int)
        values = wanted[0, 2].reshape(8, 8)
        share = (values - values.min()) / (values.max() - values.min())
        expected = 255 * colormaps["viridis"](share)[..., :3]
        assert np.abs(picture - expected).max() < 4  # a step of viridis


class TestOverview:
    def grid(self, modality, values):
        part, inputs = PARTS[modality], INPUTS[modality]
        figure = draw_overview(
            "all", part, inputs, values, LOGITS, SCALES, num_inputs=part.num_inputs
        )
        return figure.axes[-1].images[0].get_array()

    @pytest.mark.parametrize(
        ("modality", "number", "size", "place"),
        [
            ("image", 3 * 16 + 5, (128, 128), (24, 32, 40, 48)),
            ("spectrogram", 15 * 80 + 70, (80, 60), (9, 10, 15, 16)),
            ("audio", 90, (8, 480), (0, 8, 360, 364)),
            (
                "video",
                (2 * 4 + 1) * 4 + 3,
                (116, 4 * 117 - 1),
                (29, 58, 2 * 117 + 87, 2 * 117 + 116),
            ),
        ],
    )
    def test_position_of_the_map_of_a_latent(self, modality, number, size, place):
        """The third of four maps has its high value at `number`, the others at the last input."""
        part = PARTS[modality]
        values = np.stack([one_high_value(part, part.num_inputs - 1)] * 4)
        values[2] = one_high_value(part, number)
        picture = self.grid(modality, values)
        height, width = size
        columns = (picture.shape[1] + 3) // (width + 3)
        row, column = divmod(2, columns)
        y, x = row * (height + 3), column * (width + 3)
        tile = picture[y : y + height, x : x + width]
        assert bounds(tile, BRIGHT) == place
        other = picture[:height, :width]
        assert bounds(other, BRIGHT) != place

    def test_a_point_is_bright(self):
        values = np.stack([one_high_value(PARTS["points"], 7), one_high_value(PARTS["points"], 8)])
        picture = self.grid("points", values)
        boxes = [bounds(tile, BRIGHT) for tile in (picture[:, :128], picture[:, 131:])]
        assert boxes[0] != boxes[1]
        for top, bottom, left, right in boxes:
            assert (bottom - top, right - left) == (2, 2)

    def test_512_latents_are_16_rows_of_32(self):
        """This is the layout of Fig. 3."""
        part = InputGrid("image", (224, 224), (1, 1))
        values = np.broadcast_to(DRAW.normal(size=(1, 50_176)).astype(np.float32), (512, 50_176))
        figure = draw_overview("all", part, None, values, LOGITS, SCALES, num_inputs=50_176)
        shape = figure.axes[-1].images[0].get_array().shape
        assert shape == (16 * 115 - 3, 32 * 115 - 3, 3)
        numbers = [text.get_text() for text in figure.texts][-16:]
        assert numbers == [str(number) for number in range(0, 512, 32)]

    def test_inputs_outside_the_visible_range_are_grey(self):
        values = np.full((2, 256), np.nan, np.float32)
        values[:, :128] = DRAW.normal(size=(2, 128))
        picture = self.grid("image", values)[:, :128]
        assert (picture[64:] == 153).all()
        assert not (picture[:64] == 153).all(-1).any()

    def test_notes_say_how_much_weight_is_on_other_modalities(self):
        part = PARTS["image"]
        values = np.full((4, 256), 0.25 / 256, np.float32)
        figure = draw_overview("all", part, None, values, WEIGHTS, SCALES, num_inputs=1000)
        text = " ".join(text.get_text() for text in figure.texts)
        assert "the same weight for all 1,000 inputs would be 0.1%. 25.0% of all weight" in text


@pytest.mark.parametrize("modality", PARTS)
@pytest.mark.parametrize("sizes", [LARGE, SMALL], ids=["large", "small"])
def test_texts_and_axes_are_within_the_figure(modality, sizes):
    values = DRAW.normal(size=PARTS[modality].num_inputs).astype(np.float32)
    maps = [Map(f"latent {n}: to 1,234", values, LOGITS, LOGITS.limits(values)) for n in range(5)]
    part, inputs = PARTS[modality], INPUTS[modality]
    figure = draw_panels("a file with a long name " * 9, part, inputs, maps, SCALES, sizes)
    assert figure.bbox.width <= (sizes.width if modality != "video" else 1846)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    boxes += [axes.get_tightbbox(renderer) for axes in figure.axes]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 + 1
        assert box.x1 <= figure.bbox.x1 + 1
        assert figure.bbox.y0 <= box.y0 + 1
        assert box.y1 <= figure.bbox.y1 + 1


def test_pictures_are_enlarged_and_reduced_by_whole_factors():
    assert [factor_to_fit(size, 128) for size in (8, 100, 128, 129, 224, 299)] == [
        16,
        1,
        1,
        -2,
        -2,
        -3,
    ]
    picture = np.array([[[1, 2, 3], [4, 5, 6], [7, 8, np.nan]]], float)
    large = resized(picture, 2, np.nanmean)
    assert large.shape == (1, 6, 6)
    np.testing.assert_array_equal(large[0, 2:4, 0:2], 4)
    np.testing.assert_allclose(resized(picture, -2, np.nanmean), [[[3, 4.5], [7.5, np.nan]]])
    np.testing.assert_allclose(resized(picture, -2, np.nanmax), [[[5, 6], [8, np.nan]]])


def test_an_animation_has_each_frame_and_its_patch():
    """The patch of time step 2 is bright in frames 4 and 5 of 8."""
    part = PARTS["video"]
    maps = [("latent 0", one_high_value(part, 2 * 16 + 6))]
    gif = Image.open(io.BytesIO(draw_gif("a", part, INPUTS["video"], maps, LOGITS, SCALES)))
    assert gif.n_frames == 8
    bright = []
    for number in range(8):
        gif.seek(number)
        frame = np.asarray(gif.convert("RGB")).astype(int)
        map_alone = frame[:-40, frame.shape[1] // 2 :]  # without input and bar
        bright.append((np.abs(map_alone - BRIGHT) <= 12).all(-1).sum() > 1000)
    assert bright == [False] * 4 + [True] * 2 + [False] * 2


def test_a_summary_has_a_small_picture_of_each_modality():
    classifier = clips()
    pictures = summary(classifier, example(classifier), cross_attend=1)
    assert list(pictures) == ["audio", "video"]
    for data in pictures.values():
        picture = Image.open(io.BytesIO(data))
        assert picture.format == "PNG"
        assert picture.width <= 900


def test_a_summary_of_a_network_without_maps_is_an_error():
    resnet = network("folder.py:resnet", dict(image_size=32))
    with pytest.raises(ValueError, match="resnet"):
        summary(resnet, example(resnet), cross_attend=0)
    classifier = network("digits.py")
    with pytest.raises(ValueError, match="cross-attend 2 is not one of the network's 2"):
        summary(classifier, example(classifier), cross_attend=2)
