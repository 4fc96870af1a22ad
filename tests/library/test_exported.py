"""The exported forward function: run without this project, loaded again, and damaged."""

import json
import pickle
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest

from perceiver import library
from perceiver.library import exported
from tests.library.small_networks import examples, small

# Equal to float32 rounding: sums are computed in another order.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}

# Runs a function in a process with NumPy, JAX and its dependencies, but without this project.
PROGRAM = """
import sys
for name in ("perceiver", "experiments", "haiku", "optax", "ml_collections", "tensorflow"):
    sys.modules[name] = None  # importing it fails
import json, zipfile
import jax, numpy
from jax import export

with zipfile.ZipFile(sys.argv[1]) as file:
    about = json.loads(file.read("model.json"))
    forward = jax.jit(export.deserialize(bytearray(file.read("forward.bin"))).call)
with numpy.load(sys.argv[2]) as batch:
    outputs = forward(dict(batch))
numpy.savez(sys.argv[3], **outputs)
print(about["class_names"][int(outputs["probabilities"][0].argmax())])
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The path of an exported small Perceiver."""
    path = tmp_path_factory.mktemp("exported") / "image.jax"
    exported.export_forward(small("image"), path)
    return path


def softmax(logits):
    weights = np.exp(logits.astype(np.float64))
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    "name", ["image", *(pytest.param(n, marks=pytest.mark.slow) for n in ("sound_video", "resnet"))]
)
def test_function_runs_without_this_project(name, tmp_path):
    network = small(name)
    exported.export_forward(network, tmp_path / "network.jax")
    batch = examples(network, 3)
    np.savez(tmp_path / "batch.npz", **batch)
    files = [tmp_path / file for file in ("network.jax", "batch.npz", "outputs.npz")]
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, *files],
        cwd=tmp_path,
        env={"JAX_PLATFORMS": "cpu", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(tmp_path / "outputs.npz") as outputs:
        logits, probabilities = outputs["logits"], outputs["probabilities"]
    expected = np.asarray(network.logits(batch))
    assert np.ptp(expected, axis=0).max() > 1e-3  # examples differ
    np.testing.assert_allclose(logits, expected, **CLOSE)
    np.testing.assert_allclose(probabilities, softmax(expected), **CLOSE)
    assert done.stdout.strip() == network.class_names[int(expected[0].argmax())]


def test_loaded_function_gives_the_outputs_of_the_network_for_any_batch(written):
    network, function = small("image"), exported.load(written)
    assert function.inputs == network.inputs
    assert function.class_names == ("a dog", "Katze", "鳥")
    assert (function.step, function.batch_size, function.multi_label) == (1234, None, False)
    assert function.config["model"]["num_latents"] == 5
    for batch_size in (1, 5):
        batch = examples(network, batch_size)
        expected = np.asarray(network.logits(batch))
        np.testing.assert_allclose(function.logits(batch), expected, **CLOSE)
        np.testing.assert_allclose(
            function.probabilities(batch["image"]), softmax(expected), **CLOSE
        )


@pytest.mark.parametrize("way", ["dense", "blockwise", "separable"])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_every_attention_can_be_exported(way, batch_size, tmp_path):
    network = small("image")
    config = network.config | {"model": network.model | {"attention": way}}
    other = library.Classifier(config, network.params, network.state, num_classes=3)
    exported.export_forward(other, tmp_path / "file", batch_size=batch_size, platforms=["cpu"])
    batch = examples(network, 2)
    logits = exported.load(tmp_path / "file").logits(batch)
    np.testing.assert_allclose(logits, network.logits(batch), **CLOSE)


def test_multi_label_function_gives_independent_probabilities(tmp_path):
    network = small("image")
    config = network.config | {"train": {"loss": "sigmoid"}}
    other = library.Classifier(config, network.params, network.state, num_classes=3)
    exported.export_forward(other, tmp_path / "file", platforms=["cpu"])
    function, batch = exported.load(tmp_path / "file"), examples(network, 2)
    logits = np.asarray(function.logits(batch), np.float64)
    np.testing.assert_allclose(function.probabilities(batch), 1 / (1 + np.exp(-logits)), **CLOSE)
    assert function.multi_label


def test_function_of_one_batch_size_refuses_others(tmp_path):
    exported.export_forward(small("image"), tmp_path / "file", batch_size=2, platforms=["cpu"])
    function = exported.load(tmp_path / "file")
    assert function.logits(examples(small("image"), 2)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"inputs are of \[3\] examples; give 2"):
        function.logits(examples(small("image"), 3))


def test_model_json_describes_inputs_and_outputs(written):
    with zipfile.ZipFile(written) as file:
        assert file.testzip() is None
        about = json.loads(file.read("model.json"))
        program = jax.export.deserialize(bytearray(file.read("forward.bin")))
    assert about["inputs"] == {"image": {"shape": ["B", 8, 8, 1], "dtype": "uint8"}}
    assert about["outputs"]["logits"] == {"shape": ["B", 3], "dtype": "float32"}
    assert about["versions"]["jax"] == jax.__version__
    assert about["platforms"] == ["cpu", "cuda", "tpu"] == list(program.platforms)
    (image,) = program.in_avals
    assert str(image).endswith("uint8[B,8,8,1]")


def test_same_network_gives_the_same_bytes_without_paths_of_this_machine(written, tmp_path):
    before = jax.config.jax_traceback_in_locations_limit
    exported.export_forward(small("image"), tmp_path / "again")
    data = (tmp_path / "again").read_bytes()
    assert data == written.read_bytes()
    assert b".py" not in data
    assert jax.config.jax_traceback_in_locations_limit == before != 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"platforms": []}, "no platform is given"),
        ({"platforms": ["gpu"]}, "unknown platform 'gpu'"),
        ({"platforms": ["cpu", "cudaa"]}, "did you mean 'cuda'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        exported.export_forward(small("image"), tmp_path / "file", **options)
    assert not list(tmp_path.iterdir())


def test_wrong_inputs_are_refused(written):
    function = exported.load(written)
    image = np.zeros((2, 8, 8, 1), np.uint8)
    for wrong in (image[..., 0], image[:, :7], image.astype(np.float32), image[:0]):
        with pytest.raises(ValueError, match=r"takes uint8\[B, 8, 8, 1\]"):
            function.logits({"image": wrong})
    with pytest.raises(ValueError, match="a mapping of image to arrays"):
        function.logits({"images": image})


def refusal(path):
    """Returns the message of the refusal, one line with the path."""
    with pytest.raises(library.InputError) as caught:
        exported.load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_damaged_files_are_refused_and_not_run(written, tmp_path):
    path, data = tmp_path / "file.jax", written.read_bytes()
    for size in (0, 10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        assert "damaged" in refusal(path)
    with zipfile.ZipFile(written) as file:
        program = file.getinfo("forward.bin")
    begin = program.header_offset + 200
    for place in np.random.default_rng(0).integers(begin, begin + program.file_size - 400, 10):
        flipped = bytearray(data)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        assert "Bad CRC-32" in refusal(path)


def test_random_damage_gives_a_one_line_message_and_no_other_error(written, tmp_path):
    path, data = tmp_path / "file.jax", written.read_bytes()
    draw = np.random.default_rng(1)
    messages = []
    outside = [*range(100), *range(len(data) - 150, len(data))]  # headers and the directory
    for place in draw.choice(outside, 60, replace=False):
        noisy = bytearray(data)
        noisy[place] = draw.integers(0, 256)
        path.write_bytes(noisy)
        try:
            exported.load(path)  # the damage may be in an unused field
        except library.InputError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert all(message.startswith(str(path)) and "\n" not in message for message in messages)


def archive(path, compression=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name.replace("_", "."), data)


def test_foreign_newer_or_invalid_files_are_refused_with_the_reason(written, tmp_path):
    path = tmp_path / "other.jax"
    path.write_bytes(pickle.dumps([1, 2]))
    assert "not an exported function" in refusal(path)
    archive(path, a_txt="x")
    assert "without model.json" in refusal(path)
    assert not exported.is_written_here(path)

    with zipfile.ZipFile(written) as file:
        about = json.loads(file.read("model.json"))
    newer = json.dumps(about | {"format_version": 2})
    archive(path, model_json=newer, forward_bin=b"x")
    assert "has format 2" in refusal(path)
    assert exported.is_written_here(path)
    assert exported.is_written_here(written)

    for wrong in ({"format": "x"}, {"inputs": []}, {"class_names": None}, {"versions": {}}):
        archive(path, model_json=json.dumps(about | wrong), forward_bin=b"x")
        assert "another's or damaged" in refusal(path), wrong
    archive(path, model_json="[" * 100_000, forward_bin=b"x")
    assert "another's or damaged" in refusal(path)
    # A small compressed archive may unpack to any size.
    archive(path, zipfile.ZIP_DEFLATED, model_json=json.dumps(about), forward_bin=bytes(10**6))
    assert "is compressed" in refusal(path)

    assert "is not a file" in refusal(tmp_path)
    assert "is not a file" in refusal(tmp_path / "missing.jax")


@pytest.mark.slow
def test_function_of_the_full_network_agrees_at_50176_inputs(tmp_path):
    network = library.build("imagenet", num_classes=10)
    draw = np.random.default_rng(5)
    params = jax.tree.map(  # the head is initialised with zeros
        lambda x: (np.asarray(x) + 0.02 * draw.normal(size=x.shape)).astype(np.float32),
        network.params,
    )
    network = library.Classifier(network.config, params, network.state, num_classes=10)
    exported.export_forward(network, tmp_path / "file.jax")
    batch = examples(network, 1)
    expected = np.asarray(network.logits(batch))
    logits = exported.load(tmp_path / "file.jax").logits(batch)
    scale = np.abs(expected).max()
    assert scale > 0.1
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * scale)
