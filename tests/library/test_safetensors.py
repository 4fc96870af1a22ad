"""Networks as safetensors files: the specified format, round trips, and damaged files."""

import hashlib
import json
import pickle

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from perceiver import library
from perceiver.library.safetensors_files import (
    is_written_here,
    read_safetensors,
    write_safetensors,
)
from tests.library.small_networks import examples, small


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The bytes of the file of a small Perceiver."""
    path = tmp_path_factory.mktemp("written") / "image.safetensors"
    write_safetensors(small("image"), path)
    return path.read_bytes()


def parsed(data):
    """Returns the header and the float32 arrays, parsed by the specification of the format."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            assert entry["dtype"] == "F32"
            begin, end = entry["data_offsets"]
            values = np.frombuffer(data[8 + size + begin : 8 + size + end], "<f4")
            arrays[name] = values.reshape(entry["shape"])
    return header, arrays


def edited(data, change):
    """Returns the file with changed metadata of this project."""
    header, arrays = parsed(data)
    about = json.loads(header["__metadata__"]["perceiver"])
    return safetensors.numpy.save(arrays, {"perceiver": json.dumps(change(about))})


def test_file_follows_the_format_and_describes_the_network(written):
    header, arrays = parsed(written)
    network = small("image")
    expected = {
        f"params/{module}/{name}": array
        for module, of_module in network.params.items()
        for name, array in of_module.items()
    }
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)
    about = json.loads(header["__metadata__"]["perceiver"])
    assert about["format_version"] == 1
    assert about["class_names"] == ["a dog", "Katze", "鳥"]
    assert (about["num_classes"], about["step"]) == (3, 1234)
    assert about["config"]["model"]["num_latents"] == 5
    assert about["config"]["train"]["loss"] == "softmax"


@pytest.mark.parametrize(
    "name", ["image", "resnet", pytest.param("sound_video", marks=pytest.mark.slow)]
)
def test_loaded_network_gives_the_same_logits_bit_for_bit(name, tmp_path):
    network, path = small(name), tmp_path / "network.safetensors"
    write_safetensors(network, path)
    loaded = library.load(path)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, dict(network.params))
    assert jax.tree.structure(loaded.state) == jax.tree.structure(dict(network.state))
    jax.tree.map(np.testing.assert_array_equal, loaded.state, dict(network.state))
    batch = examples(network, 2)
    logits = np.asarray(network.logits(batch))
    assert np.ptp(logits) > 1e-3
    np.testing.assert_array_equal(loaded.logits(batch), logits, strict=True)
    assert (loaded.class_names, loaded.step) == (network.class_names, 1234)
    # Only the network with BatchNorm has a state.
    assert bool(jax.tree.leaves(loaded.state)) == (name == "resnet")


def test_same_network_gives_the_same_bytes(written, tmp_path):
    for i in range(5):
        write_safetensors(small("image"), tmp_path / f"{i}")
        assert (tmp_path / f"{i}").read_bytes() == written


def test_every_dtype_and_shape_comes_back(tmp_path):
    arrays = {
        "bfloat16": np.asarray([1.5, -2.0, 3e38], ml_dtypes.bfloat16),
        "float16": np.asarray([[0.1, 6e4]], np.float16),
        "int32": np.asarray(-7, np.int32),
        "uint32": np.asarray([2**32 - 1], np.uint32),
        "bool": np.asarray([True, False]),
        "empty": np.zeros((0, 4), np.float32),
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    }
    # Modules whose names differ only in the position of a slash.
    params = {"a": arrays, "a/b": {"w": np.float32([1])}, "a/b/~/c": {"w": np.float32([2])}}
    network = small("image")
    other = library.Classifier(network.config, params, {}, num_classes=3)
    write_safetensors(other, tmp_path / "file")
    saved = read_safetensors(tmp_path / "file")
    assert saved.params.keys() == params.keys()
    for module in params:
        assert saved.params[module].keys() == params[module].keys()
        for name, array in params[module].items():
            np.testing.assert_array_equal(saved.params[module][name], array, strict=True)
    assert (saved.class_names, saved.num_classes, saved.step, saved.state) == ((), 3, None, {})


def test_parameter_name_with_a_slash_is_refused(tmp_path):
    network = small("image")
    other = library.Classifier(network.config, {"a": {"b/w": np.float32([1])}}, {}, num_classes=3)
    with pytest.raises(ValueError, match="'b/w' of a has a '/'"):
        write_safetensors(other, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def refusal(path):
    """Returns the message of the refusal, one line with the path."""
    with pytest.raises(library.InputError) as caught:
        read_safetensors(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_file_cut_short_is_refused_wherever_it_ends(written, tmp_path):
    path = tmp_path / "cut.safetensors"
    for size in (0, 5, 8, 300, len(written) // 2, len(written) - 1):
        path.write_bytes(written[:size])
        assert "damaged" in refusal(path)


def test_every_flipped_bit_of_the_arrays_is_detected(written, tmp_path):
    path = tmp_path / "flipped.safetensors"
    header = 8 + int.from_bytes(written[:8], "little")
    for place in np.random.default_rng(0).integers(header, len(written), 10):
        data = bytearray(written)
        data[place] ^= 1
        path.write_bytes(data)
        assert "its arrays have changed" in refusal(path)


def test_damaged_header_gives_a_one_line_message_and_no_other_error(written, tmp_path):
    path = tmp_path / "noise.safetensors"
    header = 8 + int.from_bytes(written[:8], "little")
    draw = np.random.default_rng(1)
    messages = []
    for _ in range(150):
        data = bytearray(written)
        data[draw.integers(0, header)] = draw.integers(0, 256)
        path.write_bytes(data)
        try:
            read_safetensors(path)  # the damage may be in a letter of the config
        except library.InputError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert all(message.startswith(str(path)) and "\n" not in message for message in messages)


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickle_with_the_suffix_is_refused_and_not_run(tmp_path):
    path, mark = tmp_path / "evil.safetensors", tmp_path / "mark"
    path.write_bytes(pickle.dumps(Touch(mark)))
    assert "no safetensors file" in refusal(path)
    assert not mark.exists()


def test_sizes_beyond_the_file_are_refused_before_anything_is_allocated(tmp_path):
    path = tmp_path / "huge.safetensors"
    # 200 bytes that claim a petabyte of zeros.
    entry = {"dtype": "F32", "shape": [2**48], "data_offsets": [0, 2**50]}
    header = json.dumps({"params/a/w": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert "damaged" in refusal(path)


def test_foreign_newer_or_invalid_file_is_refused_with_the_reason(written, tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(safetensors.numpy.save({"w": np.zeros(3)}, {"format": "pt"}))
    assert "from elsewhere" in refusal(path)
    assert not is_written_here(path)

    path.write_bytes(edited(written, lambda about: about | {"format_version": 2}))
    assert "has format 2" in refusal(path)
    assert is_written_here(path)

    for change in (
        {"class_names": [1, 2, 3]},
        {"class_names": "abc"},
        {"config": []},
        {"num_classes": None},
        {"step": "last"},
        {"format_version": "1"},
    ):
        path.write_bytes(edited(written, lambda about, change=change: about | change))
        assert "its metadata can't be read" in refusal(path), change
    path.write_bytes(edited(written, lambda about: [about]))
    assert "its metadata can't be read" in refusal(path)
    path.write_bytes(safetensors.numpy.save({}, {"perceiver": "[" * 100_000}))
    assert "its metadata can't be read" in refusal(path)


def test_invalid_array_names_are_refused_despite_a_correct_digest(tmp_path):
    array = np.zeros(2, np.float32)
    digest = hashlib.sha256(b"w float32 (2,)\n" + array.tobytes()).hexdigest()
    about = {"format_version": 1, "arrays_sha256": digest, "config": {}, "num_classes": 1}
    about |= {"class_names": [], "step": None}
    path = tmp_path / "odd.safetensors"
    path.write_bytes(safetensors.numpy.save({"w": array}, {"perceiver": json.dumps(about)}))
    assert "'w'" in refusal(path)


def test_missing_file_and_folder_are_named(tmp_path):
    assert "is not a file" in refusal(tmp_path)
    assert "is not a file" in refusal(tmp_path / "missing.safetensors")
    assert not is_written_here(tmp_path)
