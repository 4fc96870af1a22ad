"""Trained networks: from the workdir of a run, or from a safetensors file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax

from perceiver import networks
from perceiver.errors import InputError
from perceiver.library.classifier import Classifier
from perceiver.library.safetensors_files import read_safetensors
from perceiver.stored_configs import upgrade
from perceiver.training.checkpoints import Checkpoints
from perceiver.training.checkpoints.tree_index import differences, flatten, index_of
from perceiver.training.objectives import make_objective
from perceiver.training.step import EVALUATED

_CONFIG, _CHECKPOINTS = "config.json", "checkpoints"


def load(path: str | Path, checkpoint: int | Literal["newest", "best"] = "newest") -> Classifier:
    """Loads what a run has learned.

    Args:
      path: the run's workdir, or a safetensors file that was made of one. It may still be training.
      checkpoint: of a workdir: 'newest', 'best', or a step that is kept.

    Returns:
      The network with the parameters that evaluation uses: their moving average where the run has
      one.

    Raises:
      InputError: there is no run at `path`.
      perceiver.training.checkpoints.CheckpointError: the checkpoint is missing or damaged.
    """
    path = Path(path).expanduser()
    if path.is_file() or path.suffix == ".safetensors":
        return _of_file(path)
    return _of_run(path, checkpoint)


def _of_file(path: Path) -> Classifier:
    saved = read_safetensors(path)
    try:
        config = upgrade(saved.config)
        params, state = _shapes(config, saved.num_classes)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} has a config of no network: {error!r}") from error
    wanted = index_of(flatten({"params": params, "state": state}))
    unlike = differences(index_of(flatten({"params": saved.params, "state": saved.state})), wanted)
    if unlike:
        raise InputError(f"{path} has other arrays than its config says: {unlike}")
    return Classifier(
        config,
        saved.params,
        saved.state,
        num_classes=saved.num_classes,
        class_names=saved.class_names,
        step=saved.step,
    )


def _of_run(workdir: Path, checkpoint: int | str) -> Classifier:
    config, class_names = _read_config(workdir)
    if not (workdir / _CHECKPOINTS).is_dir():
        raise InputError(f"{workdir} has no checkpoints/; {what_to_do(workdir)}")
    params, state = _shapes(config, len(class_names))
    with Checkpoints(
        workdir / _CHECKPOINTS,
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


def _shapes(config: Mapping[str, Any], num_classes: int) -> tuple[Any, Any]:
    """Shapes of the parameters and the state."""
    network = networks.network(config["model"], config["data"], num_classes)
    batch = networks.batch_spec(config["model"], config["data"], 1)
    return jax.eval_shape(network.init, jax.random.key(0), batch)


def _read_config(workdir: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The config and the class names of a run."""
    file = workdir / _CONFIG
    try:
        run = json.loads(file.read_text("utf-8"))
        config = {section: dict(run["config"][section]) for section in run["config"]}
        config["model"], config["data"], config["train"]["loss"]  # all that is needed below
        config = upgrade(config)
    except FileNotFoundError as error:
        problem = f"{workdir} is not a run: it has no {_CONFIG}; {what_to_do(workdir)}"
        raise InputError(problem) from error
    except NotADirectoryError as error:
        raise InputError(f"{workdir} is neither a run's folder nor a file") from error
    except OSError as error:
        raise InputError(f"{file} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is damaged; train there again to have it written") from error
    if "class_names" not in run:
        raise InputError(
            f"{file} has no class names, as an earlier version wrote it; start experiments.train "
            "there once more, which adds them"
        )
    return config, tuple(run["class_names"])


def what_to_do(folder: Path) -> str:
    """Says of a folder that no run has trained in which of those around it was probably meant."""
    near = [folder.parent, *(sorted(folder.iterdir()) if folder.is_dir() else [])]
    runs = [path for path in near if (path / _CONFIG).is_file() and (path / _CHECKPOINTS).is_dir()]
    return f"is {str(runs[0])!r} meant?" if runs else "train there first"
