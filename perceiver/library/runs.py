"""Loads trained networks from the workdir of a run or from a safetensors file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax

from perceiver import networks, run_files
from perceiver.errors import InputError
from perceiver.library.classifier import Classifier
from perceiver.library.safetensors_files import read_safetensors
from perceiver.stored_configs import upgrade
from perceiver.training.checkpoints import Checkpoints
from perceiver.training.checkpoints.tree_index import describe_differences, flatten, make_index
from perceiver.training.objectives import make_objective
from perceiver.training.step import EVALUATED


def load(path: str | Path, checkpoint: int | Literal["newest", "best"] = "newest") -> Classifier:
    """Loads a trained network.

    Args:
      path: workdir of a run, which may still be training, or a safetensors file.
      checkpoint: checkpoint of the workdir: 'newest', 'best', or the step of an existing one.

    Returns:
      The network with the parameters that evaluation uses: their moving average if the run has one.

    Raises:
      InputError: `path` is neither a run nor a valid safetensors file.
      perceiver.training.checkpoints.CheckpointError: the checkpoint is missing or damaged.
    """
    path = Path(path).expanduser()
    if path.is_file() or path.suffix == ".safetensors":
        return _load_file(path)
    return _load_run(path, checkpoint)


def _load_file(path: Path) -> Classifier:
    saved = read_safetensors(path)
    try:
        config = upgrade(saved.config)
        params, state = _variable_shapes(config, saved.num_classes)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} has a config that describes no network: {error!r}") from error
    expected = make_index(flatten({"params": params, "state": state}))
    found = make_index(flatten({"params": saved.params, "state": saved.state}))
    differences = describe_differences(found, expected)
    if differences:
        raise InputError(f"{path} has arrays that do not match its config: {differences}")
    return Classifier(
        config,
        saved.params,
        saved.state,
        num_classes=saved.num_classes,
        class_names=saved.class_names,
        step=saved.step,
    )


def _load_run(workdir: Path, checkpoint: int | Literal["newest", "best"]) -> Classifier:
    config, class_names = _read_config(workdir)
    if not (workdir / run_files.CHECKPOINTS).is_dir():
        raise InputError(f"{workdir} has no checkpoints/; {suggest_run(workdir)}")
    params, state = _variable_shapes(config, len(class_names))
    with Checkpoints(
        workdir / run_files.CHECKPOINTS,
        keep=1,
        best_of=make_objective(config["train"]["loss"], label_smoothing=0.0).metric,
        read_only=True,
    ) as checkpoints:
        restored = checkpoints.restore(
            {"params": params, "state": state},
            None if checkpoint == "newest" else checkpoint,
            part=EVALUATED,
        )
    if restored is None:
        raise InputError(f"{workdir} has no whole checkpoint; train there first")
    step, variables, _ = restored
    return Classifier(
        config,
        variables["params"],
        variables["state"],
        num_classes=len(class_names),
        class_names=class_names,
        step=step,
    )


def _variable_shapes(config: Mapping[str, Any], num_classes: int) -> tuple[Any, Any]:
    """Returns the shapes of the parameters and of the state."""
    network = networks.network(config["model"], config["data"], num_classes)
    batch = networks.batch_spec(config["model"], config["data"], 1)
    return jax.eval_shape(network.init, jax.random.key(0), batch)


def _read_config(workdir: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Returns the config and the class names of a run."""
    file = workdir / run_files.CONFIG
    try:
        run = json.loads(file.read_text("utf-8"))
        config = {section: dict(run["config"][section]) for section in run["config"]}
        config["model"], config["data"], config["train"]["loss"]  # a KeyError if one is missing
        config = upgrade(config)
    except FileNotFoundError as error:
        problem = f"{workdir} is not a run: it has no {run_files.CONFIG}; {suggest_run(workdir)}"
        raise InputError(problem) from error
    except NotADirectoryError as error:
        raise InputError(f"{workdir} is neither a run's folder nor a file") from error
    except OSError as error:
        raise InputError(f"{file} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is damaged; train there again, which writes it") from error
    if "class_names" not in run:
        raise InputError(
            f"{file} has no class names, because an earlier version wrote it; start "
            "experiments.train there once more, which adds them"
        )
    return config, tuple(run["class_names"])


def suggest_run(folder: Path) -> str:
    """Suggests what to do about a folder that contains no run: use a run near it, or train."""
    near = [folder.parent, *(sorted(folder.iterdir()) if folder.is_dir() else [])]
    runs = [
        path
        for path in near
        if (path / run_files.CONFIG).is_file() and (path / run_files.CHECKPOINTS).is_dir()
    ]
    return f"is {str(runs[0])!r} meant?" if runs else "train there first"
