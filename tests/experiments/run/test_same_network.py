"""Compares the network of a workdir's checkpoints with a config, beyond shapes of arrays."""

import json
import shutil

import pytest

from experiments.cli.config_files import load_config
from experiments.run.directory import check_same_network, write_run
from perceiver.errors import InputError
from tests.processes import TINY, run


@pytest.fixture
def finished_run(tmp_path):
    """The workdir of a run with checkpoints, and its config."""
    config = load_config("configs/audioset.py:mel_video")
    write_run(tmp_path, config, parameters=1, class_names=["a", "b"])
    (tmp_path / "checkpoints" / "10").mkdir(parents=True)
    return tmp_path, config


def test_changes_of_training_or_arithmetic_are_accepted(finished_run):
    workdir, config = finished_run
    check_same_network(workdir, config)
    config.model.dtype = "bfloat16"
    config.model.remat = "block"
    config.model.attention = "dense"
    config.model.inputs.video.dropout = 0.0
    config.optimizer.learning_rate = 1.0
    check_same_network(workdir, config)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("permutation", "fixed", "config.model.permutation=fixed, but"),
        ("self_heads", 4, "was trained with 8; take that value or another workdir"),
        ("inputs.video.patch", (2, 4, 4), "config.model.inputs.video.patch=[2, 4, 4], but"),
    ],
)
def test_another_network_is_an_error(finished_run, key, value, message):
    workdir, config = finished_run
    config.update_from_flattened_dict({f"model.{key}": value})
    with pytest.raises(InputError) as refused:
        check_same_network(workdir, config)
    assert message in str(refused.value)


def test_without_checkpoints_any_network_is_accepted(tmp_path):
    config = load_config("configs/digits.py")
    write_run(tmp_path, config, parameters=1, class_names=["a", "b"])
    config.model.num_latents = 5
    check_same_network(tmp_path, config)


def test_a_damaged_config_is_an_error(finished_run):
    workdir, config = finished_run
    for text in ("{", "[1]", json.dumps({"config": 3})):
        (workdir / "config.json").write_text(text)
        with pytest.raises(InputError, match=r"config\.json is damaged; remove it"):
            check_same_network(workdir, config)


def test_train_and_evaluate_refuse_another_network(tmp_path, tiny_run):
    """The arrays of both networks have the same shapes, so results would differ silently."""
    shutil.copytree(tiny_run, tmp_path / "run")
    for main in ("train", "evaluate"):
        other = [*TINY, f"--workdir={tmp_path}/run", "--config.model.permutation=random"]
        _, err = run(main, *other, status=2)
        assert err.startswith("error: config.model.permutation=random, but --workdir=")
        assert "was trained with none" in err
