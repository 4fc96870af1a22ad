"""Missing and incomplete data sets, and classes that are absent from evaluation."""

import argparse
import json
import shutil

import numpy as np
import pytest

from experiments.cli.config_files import load_config
from experiments.run.evaluator import Evaluator, summary
from experiments.run.from_config import data_options
from experiments.simple_models import __main__ as simple_models
from perceiver.data import registry
from perceiver.data.clips import audioset, schema
from perceiver.data.dataset import Source
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError
from perceiver.training.objectives import make_objective
from perceiver.training.parallel import DataParallel
from tests.data.clips.test_loaders import clip, write
from tests.experiments.small_data import pictures, point_clouds, tfds_pictures

# Config: parts of the error in addition to the folder. They are the expected layout or name and, if
# the data can be downloaded, the command to prepare them.
MISSING = {
    "configs/folder.py": ["train/<class>/*.jpg and val/<class>/*.jpg, or <class>/*.jpg"],
    "configs/folder.py:mel_video": ["train/<class>/*.mp4"],
    "configs/folder.py:points": ["train/<class>/*.off"],
    "configs/modelnet40.py": ["modelnet40_ply_hdf5_2048", "experiments.prepare_data modelnet"],
    "configs/imagenet.py": ["imagenet2012", "experiments.prepare_data imagenet --archives=DIR"],
    "configs/audioset.py": ["dataset_info.json", "experiments.prepare_data audioset --csv=LIST"],
}


@pytest.mark.parametrize("spec", ["configs/imagenet.py", "configs/audioset.py"])
def test_missing_data_is_an_error_before_anything_compiles(spec, tmp_path, mains):
    line = mains.refusal(
        "train",
        f"--config={spec}",
        f"--workdir={tmp_path}/run",
        f"--config.data.dir={tmp_path}/none",
    )
    for words in (f"{tmp_path}/none", *MISSING[spec]):
        assert words in line


@pytest.mark.parametrize("content", ["none", "a file", "nothing", "something else"])
@pytest.mark.parametrize("spec", MISSING)
def test_the_error_names_the_folder_and_the_expected_layout(spec, content, tmp_path):
    config = load_config(spec)
    config.data.dir = str(tmp_path / "data")
    if "prepared" in config.data:
        config.data.prepared = str(tmp_path / "prepared")
    if content == "a file":
        (tmp_path / "data").touch()
    elif content != "none":
        (tmp_path / "data").mkdir()
    if content == "something else":
        (tmp_path / "data" / "letters").mkdir()
        (tmp_path / "data" / "letters" / "a.docx").write_text("Dear")
    with pytest.raises(InputError) as raised:
        registry.load(**data_options(config))
    for words in (f"{tmp_path}/data", *MISSING[spec]):
        assert words in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_the_error_names_the_download_pages(tmp_path):
    (tmp_path / "data").mkdir()
    config = load_config("configs/modelnet40.py")
    config.data.dir = str(tmp_path / "data")
    with pytest.raises(InputError, match=r"https://modelnet\.cs\.princeton\.edu and https://shape"):
        registry.load(**data_options(config))


def _without_val(folder):
    pictures(folder)
    shutil.rmtree(folder / "val")


def _without_a_class(folder):
    pictures(folder)
    shutil.rmtree(folder / "val" / "-another")


def _without_clouds(folder):
    point_clouds(folder)
    (folder / "test0.h5").unlink()


def _without_a_list(folder):
    point_clouds(folder)
    (folder / "train_files.txt").unlink()


def _without_pictures(folder):
    tfds_pictures(folder)
    next(folder.rglob("*validation.tfrecord*")).unlink()


def _with_few_pictures(folder):
    """Cuts the file after its first record."""
    tfds_pictures(folder)
    file = next(folder.rglob("*validation.tfrecord*"))
    data = file.read_bytes()
    file.write_bytes(data[: int.from_bytes(data[:8], "little") + 16])


def _unfinished(folder):
    """Undoes the rename with which TFDS ends its preparation."""
    tfds_pictures(folder)
    (folder / "pictures" / "1.0.0").rename(folder / "pictures" / "1.0.0.incomplete7Q")


INCOMPLETE = {
    "a split": ("configs/folder.py", _without_val, "has 'train' but no 'val'"),
    "a class of a split": ("configs/folder.py", _without_a_class, "only in train: '-another'"),
    "clouds": ("configs/modelnet40.py", _without_clouds, "test0.h5 is missing"),
    "a list": ("configs/modelnet40.py", _without_a_list, "train_files.txt is missing"),
    "a file of TFDS": ("configs/imagenet.py", _without_pictures, "tfrecord-00000-of-00001 cannot"),
    "records": ("configs/imagenet.py", _with_few_pictures, "has 1 records and should have 6"),
    "the end of preparation": ("configs/imagenet.py", _unfinished, "'pictures' is not in"),
}


@pytest.mark.parametrize("missing", INCOMPLETE)
def test_an_incomplete_data_set_is_refused(missing, tmp_path):
    spec, make, message = INCOMPLETE[missing]
    (tmp_path / "data").mkdir()
    make(tmp_path / "data")
    config = load_config(spec)
    config.data.dir = str(tmp_path / "data")
    if "tfds_name" in config.data:
        config.data.tfds_name = "pictures"
    if "num_points" in config.data:
        config.data.num_points = 16
    with pytest.raises(InputError) as raised:
        registry.load(**data_options(config))
    assert f"{tmp_path}/data" in str(raised.value)
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_an_incomplete_imagenet_is_refused(tmp_path):
    """TFDS prepares any number of pictures; here its ImageNet has 6."""
    tfds_pictures(tmp_path)
    (tmp_path / "pictures").rename(tmp_path / "imagenet2012")
    (version,) = (tmp_path / "imagenet2012").iterdir()
    for file in list(version.glob("pictures-*")):
        file.rename(version / file.name.replace("pictures", "imagenet2012"))
    info = json.loads((version / "dataset_info.json").read_text())
    info["name"] = "imagenet2012"
    (version / "dataset_info.json").write_text(json.dumps(info))
    config = load_config("configs/imagenet.py")
    config.data.dir = str(tmp_path)
    with pytest.raises(InputError, match="train has 6 pictures and should have 1,281,167"):
        registry.load(**data_options(config))


def test_missing_shards_of_audioset_are_named(tmp_path):
    shards = [[clip("a", [0])], [clip("b", [1])]]
    folder = write(tmp_path / "data", {"balanced_train": shards, "eval": shards})
    (folder / "clips-eval.tfrecord-00001-of-00002").unlink()
    with pytest.raises(InputError, match=r"clips-eval\.tfrecord-00001-of-00002 cannot be read"):
        audioset.load(
            dir=str(folder),
            train_split="balanced_train",
            eval_split="eval",
            modalities=("audio",),
        )


# A class without positives.


def test_classes_absent_from_evaluation_are_left_out_of_the_mean():
    """The precisions of the two classes present are 1 and (1 + 2 / 3) / 2, by hand."""
    labels = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 1], [0, 0, 0]], np.uint8)
    logits = np.array(
        [[9.0, 9.0, 1.0], [2.0, 8.0, 5.0], [1.0, 7.0, 4.0], [0.0, 6.0, 3.0], [0.5, 5.0, 2.0]],
        np.float32,
    )

    def example(index, seed):
        return {
            "points": tf.gather(tf.constant(logits), index),
            "labels": tf.gather(tf.constant(labels), index),
        }

    evaluate = Evaluator(
        lambda variables, batch: batch["points"] * variables["one"],
        Source(5, example),
        make_objective("sigmoid", label_smoothing=0.0),
        DataParallel(),
        batch_size=2,
    )
    variables = DataParallel().replicate({"one": np.float32(1)})
    results, _ = evaluate(variables)
    assert results["mAP"] == pytest.approx((1 + (1 + 2 / 3) / 2) / 2)
    assert (results["num_classes"], results["num_examples"]) == (2, 5)
    assert summary(results).startswith("mAP 91.67% over the 2 classes present in 5 examples")


def test_simple_models_report_the_number_of_classes_present(tmp_path, capsys):
    """Two of the four classes are in training, and one of these is in evaluation."""
    sounds = np.random.default_rng(0).integers(-9000, 9000, (8, 10 * 1920), np.int16)
    records = [schema.serialize(f"{i}", 0.0, [i % 2], [], sound) for i, sound in enumerate(sounds)]
    folder = write(tmp_path, {"balanced_train": [records[:6]], "eval": [records[6::2]]})
    config = load_config("configs/audioset.py")
    config.data.dir, config.data.eval_windows = str(folder), 1
    config.data.clip_frames, config.data.spec_time_width = 4, 2
    config.data.train_split = "balanced_train"
    simple_models.main(argparse.Namespace(config=config, workdir=str(tmp_path / "new")))
    assert "mAP is over the 1 of 4 classes present in evaluation" in capsys.readouterr().out
    results = json.loads((tmp_path / "new" / "simple_models.json").read_text())
    assert results["num_classes"] == 1
    assert results["models"]["linear"]["mAP"] == 1  # of one clip, which has the class
