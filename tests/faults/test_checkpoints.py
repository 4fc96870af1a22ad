"""Restores damaged checkpoints, checkpoints of another model, and checkpoints being deleted."""

import shutil
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

from perceiver.training.checkpoints import CheckpointError, Checkpoints


def abstract(state):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)


def make_state(depth=2, width=3, dtype=np.float32):
    layers = {f"perceiver/layer_{i}": {"w": np.full((4, width), i, dtype)} for i in range(depth)}
    return {"params": layers, "step": np.asarray(7, np.int32)}


ABSTRACT = abstract(make_state())


def flip_one_bit(path):
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)


def cut_short(path):
    contents = path.read_bytes()
    path.write_bytes(contents[:-1])


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    """A directory with steps 1 and 2."""
    directory = tmp_path_factory.mktemp("checkpoints")
    with Checkpoints(directory, keep=2, best_of="accuracy") as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(), f"at {step}".encode(), {"accuracy": 0.5})
    return directory


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "{} is missing"),
        (cut_short, r"({} is cut short, \d+ of \d+ bytes|manifest.json is changed)"),
        (flip_one_bit, "{} is changed"),
    ],
)
def test_damage_to_any_file_is_named_and_the_older_checkpoint_restored(
    two_checkpoints, tmp_path, capsys, damage, reason
):
    """This holds for every file, including Orbax's files and the manifest."""
    newest = two_checkpoints / "2"
    names = sorted(str(p.relative_to(newest)) for p in newest.rglob("*") if p.is_file())
    assert len(names) >= 10
    assert {"index.json", "iterator", "manifest.json", "metrics.json", "state/_METADATA"} < {*names}
    for number, name in enumerate(names):
        directory = tmp_path / str(number)
        shutil.copytree(two_checkpoints, directory)
        damage(directory / "2" / name)
        expected = reason.format(name.replace(".", r"\."))
        with Checkpoints(directory, keep=2, best_of="accuracy", read_only=True) as reader:
            assert reader.restore(ABSTRACT)[::2] == (1, b"at 1"), name
            assert (directory / "2").exists()
            with pytest.raises(CheckpointError, match=expected):
                reader.restore(ABSTRACT, 2)
        capsys.readouterr()
        with Checkpoints(directory, keep=2, best_of="accuracy") as checkpoints:
            with pytest.raises(CheckpointError, match=f"{directory}.*{name}"):
                checkpoints.restore(ABSTRACT, "best")  # step 2 is or may be the best
            assert capsys.readouterr().err == ""
            step, state, iterator = checkpoints.restore(ABSTRACT)
            assert (step, iterator) == (1, b"at 1")
            assert jax.tree.all(jax.tree.map(np.array_equal, state, make_state()))
            warning = capsys.readouterr().err
            assert warning.count("\n") == 1
            assert warning.startswith(f"warning: step 2 in {directory} is damaged: ")
            assert warning.endswith(f"; moved to {directory}/damaged/2; using step 1\n")
            checkpoints.save(2, make_state(), b"again")
        with Checkpoints(directory, keep=2, best_of="accuracy") as checkpoints:
            assert checkpoints.restore(ABSTRACT)[::2] == (2, b"again")
        assert len(list((directory / "damaged" / "2").rglob("*"))) >= 10


def test_an_extra_file_counts_as_damage(two_checkpoints, tmp_path, capsys):
    directory = tmp_path / "checkpoints"
    shutil.copytree(two_checkpoints, directory)
    (directory / "2" / "state" / "more").touch()
    with Checkpoints(directory, keep=2, best_of=None) as checkpoints:
        assert checkpoints.restore(ABSTRACT)[0] == 1
    assert "is damaged: state/more does not belong there; moved" in capsys.readouterr().err


def test_without_an_intact_checkpoint_every_restore_fails(two_checkpoints, tmp_path):
    directory = tmp_path / "checkpoints"
    shutil.copytree(two_checkpoints, directory)
    flip_one_bit(directory / "1" / "index.json")
    (directory / "2" / "manifest.json").unlink()
    for read_only in (True, False, False):
        with (
            Checkpoints(directory, keep=2, best_of=None, read_only=read_only) as checkpoints,
            pytest.raises(CheckpointError) as error,
        ):
            checkpoints.restore(ABSTRACT)
        faults = "step 2: manifest.json is missing; step 1: index.json is changed"
        assert f"no checkpoint in {directory} is whole ({faults})" in str(error.value)
        assert sorted(path.name for path in directory.iterdir()) == ["1", "2"]


def test_a_folder_of_moved_damaged_checkpoints_is_no_fresh_start(two_checkpoints, tmp_path):
    directory = tmp_path / "checkpoints"
    shutil.copytree(two_checkpoints / "2", directory / "damaged" / "2")
    with (
        Checkpoints(directory, keep=2, best_of=None) as checkpoints,
        pytest.raises(CheckpointError, match=r"is whole \(2 was damaged before\)"),
    ):
        checkpoints.restore(ABSTRACT)


def test_a_checkpoint_with_damaged_metrics_is_neither_best_nor_deleted(
    two_checkpoints, tmp_path, capsys
):
    directory = tmp_path / "checkpoints"
    shutil.copytree(two_checkpoints, directory)
    metrics = directory / "1" / "metrics.json"
    metrics.write_text(metrics.read_text().replace("0.5", "0.9"))
    with Checkpoints(directory, keep=1, best_of="accuracy") as checkpoints:
        with pytest.raises(CheckpointError, match=f"{metrics} is changed"):
            checkpoints.restore(ABSTRACT, "best")
        checkpoints.save(3, make_state(), b"", {"accuracy": 0.6})
        checkpoints.wait()
        assert checkpoints.steps() == [1, 3]
    assert capsys.readouterr().err == f"warning: step 1 is kept: {metrics} is changed\n"


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (
            {"depth": 3},
            "params/perceiver/layer_2/w is not in the checkpoint and float32[4, 3] here",
        ),
        ({"depth": 1}, "params/perceiver/layer_1/w is float32[4, 3] in the checkpoint and not"),
        (
            {"width": 5},
            "params/perceiver/layer_0/w is float32[4, 3] in the checkpoint and float32[4, 5] here; "
            "params/perceiver/layer_1/w is float32[4, 3] in the checkpoint and float32[4, 5] here",
        ),
        (
            {"dtype": np.float16},
            "params/perceiver/layer_0/w is float32[4, 3] in the checkpoint and float16[4, 3] here",
        ),
    ],
)
def test_a_checkpoint_of_another_model_is_an_error_with_the_differences(
    two_checkpoints, capsys, other, difference
):
    with (
        Checkpoints(two_checkpoints, keep=2, best_of=None) as checkpoints,
        pytest.raises(CheckpointError) as error,
    ):
        checkpoints.restore(abstract(make_state(**other)))
    message = str(error.value)
    assert f"step 2 in {two_checkpoints} is of another model: {difference}" in message
    assert "\n" not in message
    assert capsys.readouterr().err == ""  # it is intact: the older one is not tried
    assert sorted(path.name for path in two_checkpoints.iterdir()) == ["1", "2"]


def test_reading_never_fails_while_a_trainer_deletes_checkpoints(tmp_path):
    """The trainer keeps one checkpoint and saves all the time."""
    elements, saves = 200_000, 25

    def train():
        with Checkpoints(tmp_path, keep=1, best_of=None) as writer:
            for step in range(1, saves + 1):
                w = np.full(elements, step, np.float32)
                writer.save(step, {"w": w}, b"at %d" % step)

    target = {"w": jax.ShapeDtypeStruct((elements,), np.float32)}
    steps = []
    thread = threading.Thread(target=train)
    thread.start()
    try:
        with Checkpoints(tmp_path, keep=1, best_of=None, read_only=True) as reader:
            while thread.is_alive() or steps[-1] < saves:
                restored = reader.restore(target)
                if restored is None:
                    assert not steps, "there was one before"
                    continue
                step, state, iterator = restored
                assert iterator == b"at %d" % step
                assert (state["w"] == step).all()
                steps.append(step)
    finally:
        thread.join()
    assert steps == sorted(steps)
    assert len(set(steps)) >= 3
