"""Contact sheets: pixels, captions and layout, and the examples that show_data draws."""

import io
import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from experiments.cli.config_files import load_config
from experiments.figures.contact_sheets import Entry, Scales, contact_sheet, png
from experiments.run.examples import caption, evaluation_examples, training_examples
from perceiver.data.dataset import Source
from perceiver.data.stream.batches import train_iterator
from perceiver.data.tensorflow_cpu import tf
from tests.processes import finish, run, start

SCALES = Scales(sample_rate=48_000, frame_rate=25, mel_hop=1024, up_axis="y")
CLASSES = ("tench", r"a $\frac{1}{2}$ b", "a class name that goes on and on " * 4)

DRAW = np.random.default_rng(0)
INPUTS = {
    "image": DRAW.integers(0, 256, (224, 224, 3), np.uint8),
    "points": DRAW.uniform(-1, 1, (200, 3)).astype(np.float32),
    "video": DRAW.integers(0, 256, (32, 64, 64, 3), np.uint8),
    "audio": DRAW.integers(-(2**15), 2**15, 61_440, np.int16),
    "spectrogram": DRAW.normal(size=(60, 80)).astype(np.float16),
}


def sheet(entries, scales=SCALES):
    return contact_sheet("configs/any.py, train, 12 examples", entries, scales)


def pixels(entries):
    return np.asarray(Image.open(io.BytesIO(png(sheet(entries)))).convert("RGB"))


def test_a_picture_is_shown_pixel_for_pixel():
    image = INPUTS["image"]
    shown = pixels([Entry("a picture", {"image": image})])
    places = np.argwhere((shown == image[0, 0]).all(-1))
    found = [shown[y : y + 224, x : x + 224] for y, x in places]
    assert any(np.array_equal(window, image) for window in found)


def test_a_small_grey_picture_is_enlarged_by_a_whole_factor():
    image = np.array([[40, 80], [120, 160]], np.uint8)[..., None]
    shown = pixels([Entry("", {"image": image})])
    counts = [(shown == grey).all(-1).sum() for grey in image.ravel()]
    assert all(112 * 112 <= count < 112 * 112 + 20 for count in counts)  # text has greys too


@pytest.mark.parametrize("count", [1, 2, 7, 24])
@pytest.mark.parametrize(
    "names", [["image"], ["points"], ["audio"], ["spectrogram"], ["video", "audio"]], ids="+".join
)
def test_nothing_is_cut_off_or_covered(names, count):
    inputs = {name: INPUTS[name] for name in names}
    entries = [Entry(f"#{i}: {CLASSES[i % 3]}", inputs) for i in range(count)]
    figure = sheet(entries)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    boxes += [axes.get_tightbbox(renderer) for axes in figure.axes]
    assert len(figure.axes) == count * len(names)
    for box in boxes:
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0
        assert box.y1 <= figure.bbox.y1
    for one, other in itertools.combinations(boxes, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        down = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(across, down) < 1  # pixel


def test_captions_are_verbatim_and_long_ones_end_in_an_ellipsis():
    shown = [text.get_text() for text in sheet([Entry(c, INPUTS) for c in CLASSES]).texts]
    assert CLASSES[1] in shown
    figure = sheet([Entry(CLASSES[2], {"image": INPUTS["image"]})])
    assert figure.texts[-1].get_text().endswith("…")
    png(sheet([Entry("$", {"image": INPUTS["image"]})]))  # an incomplete formula is no error


def test_the_axes_of_a_spectrogram_are_seconds_and_bins():
    spectrogram = np.zeros((60, 80), np.float16)
    spectrogram[15, 70] = 1
    (axes,) = sheet([Entry("", {"spectrogram": spectrogram})]).axes
    assert axes.get_xlim() == pytest.approx((0, 1.28))  # 61,440 samples at 48 kHz
    assert axes.get_ylim() == pytest.approx((-0.5, 79.5))
    (image,) = axes.images
    # The bright cell lies from 15 to 16 hops, high up.
    row, column = np.argwhere(image.get_array() == 1)[0]
    left, right, bottom, top = image.get_extent()
    assert left + (right - left) * column / 60 == pytest.approx(15 * 1024 / 48_000)
    assert bottom + (top - bottom) * row / 80 == pytest.approx(69.5)
    assert image.origin == "lower"


def test_a_waveform_reaches_as_high_as_its_samples():
    audio = np.zeros(61_440, np.int16)
    audio[48_000] = 16_384
    (axes,) = sheet([Entry("", {"audio": audio})]).axes
    assert axes.get_xlim() == pytest.approx((0, 1.28))
    (filled,) = axes.collections
    x, y = filled.get_paths()[0].vertices.T
    assert y.max() == pytest.approx(0.5)
    assert x[y.argmax()] == pytest.approx(1.0, abs=0.01)


def test_every_fourth_frame_of_a_video_is_shown_with_its_time():
    video = np.arange(32, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    (axes,) = sheet([Entry("", {"video": video})]).axes
    strip = axes.images[0].get_array()
    assert strip.shape == (8, 64, 3)
    np.testing.assert_array_equal(strip[0, ::8, 0], np.arange(0, 32, 4))
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == [f"{k / 25:.2f} s" for k in range(0, 32, 4)]


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_clouds_stand_upright_and_are_not_mirrored(up):
    def drawn(point):
        points = np.array([point], np.float32)
        (axes,) = sheet([Entry("", {"points": points})], Scales(48_000, 25, up_axis=up)).axes
        assert axes.get_aspect() == 1
        return np.array([*axes.collections[0].get_offsets()[0], axes.collections[0].get_array()[0]])

    across, height, nearness = np.stack([drawn(point) for point in np.eye(3)], axis=1)
    # A projection without perspective: both directions have length 1, at a right angle.
    rows = np.stack([across, height])
    np.testing.assert_allclose(rows @ rows.T, np.eye(2), atol=1e-6)
    axis = "xyz".index(up)
    assert across[axis] == pytest.approx(0, abs=1e-6)
    assert height[axis] > 0.8
    # Axes are right-handed, so right x up points to the viewer, who looks down on the cloud.
    np.testing.assert_allclose(np.cross(across, height), nearness, atol=1e-6)
    assert nearness[axis] > 0


def test_a_caption_names_the_classes():
    names = ("cat", "dog", "cow")
    assert caption({"index": 7, "label": 1}, names) == "#7: dog"
    several = {"index": 7, "labels": np.array([1, 0, 1], np.uint8), "window": (2, 16)}
    assert caption(several, names) == "#7, window 2 of 16: cat, cow"
    assert caption({"index": 7, "labels": np.zeros(3, np.uint8)}, names) == "#7: no class"
    mixed = {"index": 7, "label": 1, "other_label": 2, "label_weight": np.float32(0.7)}
    assert caption(mixed, names) == "#7: 70% dog, 30% cow"


def numbered(size, windows=0, mix_pair=None):
    """Returns a source whose points encode the example, the window and, in training, the draw."""

    def example(index, seed):
        value = tf.cast(index, tf.float32)
        if seed is not None:
            points = tf.fill([4, 3], value) + tf.random.stateless_uniform([], seed) / 2
        elif windows:
            points = value + tf.range(windows, dtype=tf.float32)[:, None, None] / 8
            points = points + tf.zeros([windows, 4, 3])
        else:
            points = tf.fill([4, 3], value)
        return {"points": points, "label": tf.cast(index, tf.int32)}

    return Source(size, example, lambda i: f"file {i}", windows, mix_pair)


def test_windows_are_shown_one_by_one():
    shown = evaluation_examples(numbered(5, windows=3), 5, None)
    assert [(e["index"], e["window"]) for e in shown] == [
        (0, (1, 3)),
        (0, (2, 3)),
        (0, (3, 3)),
        (1, (1, 3)),
        (1, (2, 3)),
    ]
    assert [e["points"][0, 0] for e in shown] == [0, 1 / 8, 2 / 8, 1, 9 / 8]
    assert [e["label"] for e in shown] == [0, 0, 0, 1, 1]
    assert all(e["points"].shape == (4, 3) for e in shown)


def test_evaluation_shows_at_most_all_examples():
    assert [e["index"] for e in evaluation_examples(numbered(3), 9, None)] == [0, 1, 2]
    (one,) = evaluation_examples(numbered(3), 9, 2)
    assert (one["index"], one["label"], one["points"][0, 0]) == (2, 2, 2)


def test_a_repeated_example_is_augmented_differently_each_time():
    config = load_config("configs/digits.py")
    shown = training_examples(numbered(9), config, 12, 4)
    assert {int(e["index"]) for e in shown} == {int(e["label"]) for e in shown} == {4}
    draws = [float(e["points"][0, 0]) for e in shown]
    assert len(set(draws)) == 12
    assert 4 <= min(draws) < max(draws) < 4.5


def test_an_odd_number_of_mixed_examples_is_shown():
    def swap(features, seed):
        del seed
        return features | {"other_label": features["label"][::-1]}

    shown = training_examples(numbered(9, mix_pair=swap), load_config("configs/digits.py"), 5, None)
    labels = [int(e["label"]) for e in shown]
    assert [int(e["other_label"]) for e in shown][:4] == [labels[i] for i in (1, 0, 3, 2)]
    assert len(shown) == 5


GREYS = {"dark": 30, "light": 200}


@pytest.fixture
def greys(tmp_path):
    for split, count in (("train", 6), ("val", 2)):
        for name, grey in GREYS.items():
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(count):
                image = Image.new("RGB", (40, 30), (grey, grey, grey))
                image.save(tmp_path / "data" / split / name / f"{i}.png")
    return tmp_path


def test_examples_of_training(greys):
    """show_data draws the first examples of training in order and with their pixels."""
    arguments = ["--config=configs/folder.py", f"--config.data.dir={greys}/data"]
    out, _ = run("show_data", *arguments, f"--out={greys}/new/sheet.png", "--count=5")
    *listed, last = out.splitlines()
    assert last == f"picture: {greys}/new/sheet.png"
    numbers = [int(line.split(":")[0][1:]) for line in listed]
    stream = train_iterator(Source(12, lambda index, seed: {}), batch_size=5, seed=0)
    assert numbers == list(next(stream)["index"])
    shown = np.asarray(Image.open(greys / "new" / "sheet.png").convert("RGB"))
    for name, grey in GREYS.items():
        files = sum(f"/train/{name}/" in line for line in listed)
        # 64 x 64 pixels are enlarged three times.
        assert (shown == grey).all(-1).sum() >= files * 192 * 192
        assert (shown == grey).all(-1).sum() < (files + 1) * 192 * 192


def test_examples_of_evaluation(greys):
    arguments = ["--config=configs/folder.py", f"--config.data.dir={greys}/data"]
    out, _ = run("show_data", *arguments, f"--out={greys}/sheet.png", "--split=eval")
    assert [line.split(": ")[0] for line in out.splitlines()[:-1]] == ["#0", "#1", "#2", "#3"]
    assert "/val/dark/0.png" in out.splitlines()[0]


USER_ERRORS = {
    "no out": ([], "--out is missing"),
    "not a PNG": (["--out={tmp}/sheet.bmp"], "sheet.bmp is not the name of a PNG"),
    "no such split": (["--out={tmp}/a.png", "--split=test"], "--split=test"),
    "no such example": (
        ["--out={tmp}/a.png", "--example=1437"],
        "--example=1437 is not in the train split; its 1,437 examples are numbered from 0",
    ),
    "none at all": (["--out={tmp}/a.png", "--count=0"], "--count=0"),
    "a file for a folder": (["--out={tmp}/file/a.png"], "{tmp}/file/a.png can't be written"),
}


@pytest.mark.parametrize("name", USER_ERRORS)
def test_a_user_error_is_one_line(name, tmp_path):
    arguments, message = USER_ERRORS[name]
    (tmp_path / "file").touch()
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    _, err = finish(start("show_data", "--config=configs/digits.py", *arguments), status=2)
    (line,) = [x for x in err.splitlines() if x.startswith("error: ")]
    assert message.format(tmp=tmp_path) in line
    assert "Traceback" not in err
    assert not list(tmp_path.glob("*.png"))
