"""Runs `python -m experiments.attention_maps`."""

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image
from sklearn.datasets import load_digits

from experiments.run.examples import evaluation_examples
from perceiver.data import registry
from perceiver.library.safetensors_files import write_safetensors
from tests.experiments.attention_networks import clips, expected_logits, network
from tests.processes import finish, run, start


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A network for digits, and its file."""
    classifier = network("digits.py")
    file = tmp_path_factory.mktemp("networks") / "digits.safetensors"
    write_safetensors(classifier, file)
    return classifier, file


def pictures(out):
    return sorted(line.removeprefix("picture: ") for line in out.splitlines())


def test_all_latents_of_an_example(digits, tmp_path):
    """Pixels have the colours of logits from NumPy, for the first example of evaluation."""
    classifier, file = digits
    maps = tmp_path / "new" / "maps"
    arguments = [f"--workdir={file}", "--example=0", "--cross_attends=2", f"--out={maps}"]
    out, _ = run("attention_maps", *arguments)
    names = ["after_softmax.png", "before_softmax.png", "telling.png"]
    assert pictures(out) == [f"{maps}/cross_attend_2_image_{name}" for name in names]
    assert len(list(maps.iterdir())) == 3

    # 6 maps of 8 x 8 inputs of 16 x 16 pixels, with gaps of 3 pixels, in 3 columns.
    shown = np.asarray(Image.open(maps / f"cross_attend_2_image_{names[1]}").convert("RGB"))
    top = len(shown) - 12 - 2 * 128 - 3
    tiles = [
        shown[top + row : top + row + 128, column : column + 128][8::16, 8::16].astype(int)
        for row in (0, 131)
        for column in (40, 171, 302)
    ]
    options = {k: v for k, v in classifier.data.items() if k != "num_classes"}
    (example,) = evaluation_examples(registry.load(**options).eval, 1, 0)
    (_, wanted) = expected_logits(classifier, {"image": example["image"]})
    for tile, logits in zip(tiles, wanted[0], strict=True):
        share = (logits - logits.min()) / (logits.max() - logits.min())
        colours = 255 * colormaps["viridis"](share.reshape(8, 8))[..., :3]
        assert np.abs(tile - colours).max() < 4  # a step of viridis


def test_chosen_latents_of_a_file(digits, tmp_path):
    Image.fromarray(np.uint8(load_digits().images[3] * 255 / 16)).save(tmp_path / "a digit.png")
    arguments = [f"--workdir={digits[1]}", f"--input={tmp_path}/a digit.png", "--latents=5,0"]
    out, _ = run("attention_maps", *arguments, f"--out={tmp_path}/maps")
    names = [f"latent_{n}_image_{s}_softmax.png" for n in (0, 5) for s in ("after", "before")]
    assert pictures(out) == [f"{tmp_path}/maps/{name}" for name in names]
    assert all(Image.open(tmp_path / "maps" / name).width == 1392 for name in names)


@pytest.mark.slow
def test_sound_and_video_of_a_clip(files, tmp_path):
    write_safetensors(clips(), tmp_path / "clips.safetensors")
    clip = files / "videos/ntsc.mp4"
    arguments = [f"--workdir={tmp_path}/clips.safetensors", f"--input={clip}"]
    arguments.append(f"--out={tmp_path}/maps")
    out, _ = run("attention_maps", *arguments, "--cross_attends=1")
    names = [name.rpartition("cross_attend_1_")[2] for name in pictures(out)]
    assert names == [
        "audio_after_softmax.png",
        "audio_before_softmax.png",
        "audio_telling.png",
        "video_after_softmax.png",
        "video_before_softmax.png",
        "video_telling.gif",
        "video_telling.png",
    ]
    out, _ = run("attention_maps", *arguments, "--latents=1")
    assert len(pictures(out)) == 6
    assert Image.open(tmp_path / "maps" / "latent_1_video_after_softmax.gif").n_frames == 4


USER_ERRORS = {
    "no input": ([], "give either --input=FILE or --example=NUMBER"),
    "two inputs": (["--example=0", "--input=a.png"], "give either --input"),
    "not a number": (
        ["--example=0", "--latents=1,x"],
        "--latents=1,x is not a list of whole numbers",
    ),
    "a file as folder": (["--example=0", "--out={tmp}/file/maps"], "{tmp}/file/maps can't be"),
    "no such run": (["--example=0", "--workdir={tmp}/none"], "{tmp}/none"),
    "no such cross-attend": (
        ["--example=0", "--cross_attends=1,0"],
        "--cross_attends has 0; the network's 2 cross-attends are numbered 1 to 2",
    ),
    "no such latent": (
        ["--example=0", "--latents=6"],
        "--latents has 6; the network's 6 latents are numbered 0 to 5",
    ),
    "a baseline": (["--example=0", "--workdir={tmp}/resnet.safetensors"], "is of a resnet; only"),
    "no such example": (
        ["--example=360"],
        "--example=360 is not in the eval split; its 360 examples are numbered from 0",
    ),
    "no such file": (["--input={tmp}/none.png"], "{tmp}/none.png"),
}


def user_errors():
    """Yields the names of errors, marked as slow if found only after data is loaded."""
    for name in USER_ERRORS:
        marks = [pytest.mark.slow] if name in ("no such example", "no such file") else []
        yield pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", list(user_errors()))
def test_a_user_error_is_one_line(name, digits, tmp_path):
    arguments, message = USER_ERRORS[name]
    (tmp_path / "file").touch()
    if name == "a baseline":
        resnet = network("folder.py:resnet", dict(image_size=32))
        write_safetensors(resnet, tmp_path / "resnet.safetensors")
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    usual = [f"--workdir={digits[1]}", f"--out={tmp_path}/maps"]
    _, err = finish(start("attention_maps", *usual, *arguments), status=2)
    (line,) = [x for x in err.splitlines() if x.startswith("error: ")]
    assert message.format(tmp=tmp_path) in line
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.png"))
