"""Trained networks: from the workdir of a run, or from a safetensors file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax

from perceiver import networks
from perceiver.library.classifier import Classifier
from perceiver.library.errors import LibraryError
from perceiver.training.checkpoints import Checkpoints
from perceiver.training.objectives import make_objective

# Where a checkpoint keeps what is evaluated: the moving average, if there is one.
_EVALUATED = ("ema", "variables")


def load(path: str | Path, checkpoint: int | Literal["newest", "best"] = "newest") -> Classifier:
    """Loads what a run has learned.

    Args:
      path: the run's workdir, or a safetensors file that was made of one. It may still be training.
      checkpoint: of a workdir: 'newest', 'best', or a step that is kept.

    Returns:
      The network with the parameters that evaluation uses: their moving average where the run has
      one.

    Raises:
      LibraryError: there is no run at `path`.
      perceiver.training.checkpoints.CheckpointError: the checkpoint is missing or damaged.
    """
    path = Path(path).expanduser()
    if path.is_file():
        from perceiver.library.safetensors_files import read_safetensors

        saved = read_safetensors(path)
        return Classifier(
            saved.config,
            saved.params,
            saved.state,
            num_classes=len(saved.class_names),
            class_names=saved.class_names,
            step=saved.step,
        )
    return _of_run(path, checkpoint)


def _of_run(workdir: Path, checkpoint: int | str) -> Classifier:
    config, class_names = _read_config(workdir)
    if not (workdir / "checkpoints").is_dir():
        raise LibraryError(f"{workdir} has no checkpoints/; train there first")
    network = networks.network(config["model"], config["data"], len(class_names))
    batch = networks.batch_spec(config["model"], config["data"], 1)
    params, state = jax.eval_shape(network.init, jax.random.key(0), batch)
    with Checkpoints(
        workdir / "checkpoints",
        keep=1,
        best_of=make_objective(config["train"]["loss"], label_smoothing=0.0).metric,
        read_only=True,
    ) as checkpoints:
        restored = checkpoints.restore(
            {"params": params, "state": state},
            None if checkpoint == "newest" else checkpoint,
            part=_EVALUATED,
        )
    if restored is None:
        raise LibraryError(f"{workdir} has no whole checkpoint; train there first")
    step, variables, _ = restored
    return Classifier(
        config,
        variables["params"],
        variables["state"],
        num_classes=len(class_names),
        class_names=class_names,
        step=step,
    )


def _read_config(workdir: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The config and the class names of a run."""
    file = workdir / "config.json"
    try:
        run = json.loads(file.read_text("utf-8"))
        config = {section: dict(run["config"][section]) for section in run["config"]}
        config["model"], config["data"], config["train"]["loss"]  # all that is needed below
    except FileNotFoundError as error:
        raise LibraryError(f"{workdir} is not a run: it has no config.json") from error
    except NotADirectoryError as error:
        raise LibraryError(f"{workdir} is neither a run's folder nor a file") from error
    except OSError as error:
        raise LibraryError(f"{file} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LibraryError(f"{file} is damaged; train there again to have it written") from error
    if "class_names" not in run:
        raise LibraryError(
            f"{file} has no class names, as an earlier version wrote it; start experiments.train "
            "there once more, which adds them"
        )
    return config, tuple(run["class_names"])
