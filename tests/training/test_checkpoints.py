"""Checkpoints are restored bit for bit, or a one-line error says why not."""

import logging

import jax
import ml_dtypes
import numpy as np
import optax
import pytest
from absl import logging as absl_logging

from perceiver.training.checkpoints import CheckpointError, Checkpoints


def make_state(step):
    """Returns a state with all types of leaves and nodes, whose values depend on the step."""
    rng = np.random.default_rng(step)
    params = {
        "perceiver/~/cross_attend/linear": {
            "w": rng.normal(size=(7, 5)).astype(np.float32),
            "b": np.zeros((5,), np.float32),
        },
        "perceiver": {"latents": rng.normal(size=(3, 2)).astype(ml_dtypes.bfloat16)},
    }
    return {
        "params": params,
        "opt_state": (
            optax.EmptyState(),
            optax.ScaleByAdamState(
                np.asarray(step, np.int32), jax.tree.map(np.copy, params), params
            ),
            (),
        ),
        "rng": np.asarray([step, 2**32 - 1], np.uint32),
        "flags": np.asarray([True, False, True]),
        "nothing": np.zeros((0, 3), np.float32),
        "odd": np.asarray([np.nan, -0.0, np.inf, 1e-45], np.float32),
    }


def abstract(state):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)


ABSTRACT = abstract(make_state(0))


def assert_same(restored, state):
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for ours, theirs in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert type(ours) is np.ndarray
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert ours.tobytes() == theirs.tobytes()


def test_round_trip_is_bitwise(tmp_path):
    with Checkpoints(tmp_path / "checkpoints", keep=2, best_of=None) as checkpoints:
        checkpoints.save(3, make_state(3), b"\x00iterator\xff")
    with Checkpoints(tmp_path / "checkpoints", keep=2, best_of=None) as checkpoints:
        step, state, iterator = checkpoints.restore(ABSTRACT)
    assert (step, iterator) == (3, b"\x00iterator\xff")
    assert_same(state, make_state(3))


def test_the_callers_arrays_may_change_once_save_returns(tmp_path):
    state = make_state(1)
    with Checkpoints(tmp_path, keep=1, best_of=None) as checkpoints:
        checkpoints.save(1, state, b"")
        state["odd"][:] = 7
        state["params"]["perceiver/~/cross_attend/linear"]["w"][:] = 7
        assert_same(checkpoints.restore(ABSTRACT)[1], make_state(1))


def test_an_empty_directory_restores_nothing(tmp_path):
    with Checkpoints(tmp_path / "new", keep=1, best_of="accuracy") as checkpoints:
        assert checkpoints.restore(ABSTRACT) is None
        assert checkpoints.steps() == []
        assert checkpoints.latest_step() is None
        assert checkpoints.best_step() is None
        with pytest.raises(CheckpointError, match=r"no step 5 .* only steps \[\]"):
            checkpoints.restore(ABSTRACT, 5)
        with pytest.raises(CheckpointError, match="no checkpoint with 'accuracy'"):
            checkpoints.restore(ABSTRACT, "best")


def test_keeps_the_newest_and_the_best(tmp_path):
    accuracies = {1: 0.2, 2: 0.9, 3: None, 4: float("nan"), 5: 0.5, 6: None}
    with Checkpoints(tmp_path, keep=2, best_of="accuracy") as checkpoints:
        for step, accuracy in accuracies.items():
            metrics = None if accuracy is None else {"accuracy": accuracy, "loss": 1.0}
            checkpoints.save(step, make_state(step), b"", metrics)
    with Checkpoints(tmp_path, keep=2, best_of="accuracy") as checkpoints:
        assert checkpoints.steps() == [2, 5, 6]
        assert (checkpoints.latest_step(), checkpoints.best_step()) == (6, 2)
        assert_same(checkpoints.restore(ABSTRACT, "best")[1], make_state(2))
        assert_same(checkpoints.restore(ABSTRACT, 5)[1], make_state(5))
        checkpoints.save(7, make_state(7), b"", {"accuracy": 0.9})  # the newest of equals
        checkpoints.wait()
        assert checkpoints.steps() == [6, 7]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["6", "7"]


def test_without_a_metric_only_the_newest_are_kept(tmp_path):
    with Checkpoints(tmp_path, keep=2, best_of=None) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, make_state(step), b"", {"accuracy": 1 / step})
        checkpoints.wait()
        assert checkpoints.steps() == [2, 3]
        with pytest.raises(ValueError, match="without best_of"):
            checkpoints.restore(ABSTRACT, "best")


def test_smaller_model_is_refused(tmp_path):
    smaller = make_state(0)
    del smaller["flags"]
    with Checkpoints(tmp_path, keep=1, best_of=None) as checkpoints:
        checkpoints.save(1, make_state(1), b"")
        with pytest.raises(CheckpointError, match=r"flags is bool\[3\] in .* and not here"):
            checkpoints.restore(abstract(smaller))


def test_shape_of_an_array_without_elements_must_match(tmp_path):
    other = {**make_state(0), "nothing": np.zeros((0, 4), np.float32)}
    with Checkpoints(tmp_path, keep=1, best_of=None) as checkpoints:
        checkpoints.save(1, make_state(1), b"")
        with pytest.raises(CheckpointError, match=r"float32\[0, 3\] .* float32\[0, 4\]"):
            checkpoints.restore(abstract(other))


def test_many_differences_are_counted(tmp_path):
    with Checkpoints(tmp_path, keep=1, best_of=None) as checkpoints:
        checkpoints.save(1, {f"p{i}": np.zeros(1) for i in range(20)}, b"")
        with pytest.raises(CheckpointError, match="and 15 more"):
            checkpoints.restore({f"p{i}": jax.ShapeDtypeStruct((2,), float) for i in range(20)})


def test_a_step_must_be_new(tmp_path):
    with Checkpoints(tmp_path, keep=3, best_of=None) as checkpoints:
        checkpoints.save(5, make_state(5), b"")
        for step in (4, 5):
            with pytest.raises(ValueError, match=f"step {step} is not after the newest .* 5"):
                checkpoints.save(step, make_state(step), b"")
        checkpoints.wait()
        assert checkpoints.steps() == [5]


@pytest.mark.parametrize("leaf", ["text", object(), np.array(["a"])])
def test_only_numbers_are_saved(tmp_path, leaf):
    with (
        Checkpoints(tmp_path, keep=1, best_of=None) as checkpoints,
        pytest.raises(ValueError, match=r"a/b is .*only numbers"),
    ):
        checkpoints.save(1, {"a": {"b": leaf}}, b"")


def test_leftovers_are_removed_and_not_counted(tmp_path):
    with Checkpoints(tmp_path, keep=1, best_of=None) as checkpoints:
        checkpoints.save(1, make_state(1), b"")
    (tmp_path / "2.unfinished" / "state").mkdir(parents=True)
    (tmp_path / "deleted" / "0" / "state").mkdir(parents=True)
    with Checkpoints(tmp_path, keep=1, best_of=None) as checkpoints:
        assert [path.name for path in tmp_path.iterdir()] == ["1"]
        assert checkpoints.steps() == [1]


def test_reader_sees_new_checkpoints_of_the_writer_and_changes_nothing(tmp_path):
    with (
        Checkpoints(tmp_path, keep=1, best_of=None) as writer,
        Checkpoints(tmp_path, keep=1, best_of=None, read_only=True) as reader,
    ):
        assert reader.restore(ABSTRACT) is None
        writer.save(1, make_state(1), b"iterator")
        writer.wait()
        unfinished = tmp_path / "9.unfinished"
        unfinished.mkdir()
        with Checkpoints(tmp_path, keep=1, best_of=None, read_only=True) as late:
            assert late.steps() == [1]
        step, state, iterator = reader.restore(ABSTRACT)
        assert (step, iterator) == (1, b"iterator")
        assert_same(state, make_state(1))
        with pytest.raises(ValueError, match="read-only"):
            reader.save(2, make_state(2), b"")
        assert unfinished.exists()


def test_log_of_orbax_is_dropped_and_other_logs_are_not(tmp_path, caplog):
    absl = logging.getLogger("absl")
    absl.addHandler(caplog.handler)
    verbosity = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.INFO)
    try:
        with Checkpoints(tmp_path, keep=1, best_of="accuracy") as checkpoints:
            checkpoints.save(1, make_state(1), b"")
            checkpoints.restore(ABSTRACT)
            checkpoints.save(2, make_state(2), b"", {"accuracy": 1.0})
        absl_logging.info("the program's own")
    finally:
        absl_logging.set_verbosity(verbosity)
        absl.removeHandler(caplog.handler)
    assert {record.getMessage() for record in caplog.records} == {"the program's own"}


def test_keep_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="not 0"):
        Checkpoints(tmp_path, keep=0, best_of=None)


class TestParts:
    @pytest.mark.parametrize("names", [("params",), ("ema", "params", "opt_state")])
    def test_only_the_first_existing_part_is_read(self, tmp_path, names):
        with Checkpoints(tmp_path, keep=2, best_of=None) as checkpoints:
            state = make_state(3)
            checkpoints.save(3, state, b"here")
            step, part, iterator = checkpoints.restore(state["params"], part=names)
        assert (step, iterator) == (3, b"here")
        jax.tree.map(np.testing.assert_array_equal, part, state["params"])

    def test_of_another_model(self, tmp_path):
        with Checkpoints(tmp_path, keep=2, best_of=None) as checkpoints:
            state = make_state(3)
            checkpoints.save(3, state, b"")
            other = state["params"] | {"perceiver": {"latents": np.zeros((3, 4), np.float32)}}
            with pytest.raises(CheckpointError, match=r"latents is bfloat16\[3, 2\]"):
                checkpoints.restore(other, part=("params",))
