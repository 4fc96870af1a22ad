"""Evaluates a checkpoint, every example counted exactly once.

Prints the result and writes it to eval.json in the workdir, and the predictions for each example
to predictions.npz. It may run while the run is training.
"""

import argparse
import time
from pathlib import Path

import jax

from experiments.cli import distributed
from experiments.cli.config_files import flatten
from experiments.cli.main import run
from experiments.cli.parser import Parser
from experiments.run import predictions, restore
from experiments.run.directory import check_same_network
from experiments.run.evaluator import Evaluator, summary
from experiments.run.from_config import data_options, from_config
from perceiver import run_files
from perceiver.data import registry
from perceiver.data.dataset import Source
from perceiver.errors import InputError
from perceiver.library.runs import suggest_run
from perceiver.training.checkpoints import Checkpoints
from perceiver.training.logging.metrics import write_json
from perceiver.training.parallel import DataParallel
from perceiver.training.step import EVALUATED


def parser() -> Parser:
    """Returns the parser of the program's flags."""
    parser = Parser(
        "experiments.evaluate",
        "Evaluates the newest checkpoint of a workdir, or --config.eval.checkpoint=best or =STEP.",
        examples=["--config=configs/digits.py --workdir=runs/digits"],
    )
    parser.add_config()
    parser.add_workdir("folder of the run: checkpoints, results")
    return parser


def main(options: argparse.Namespace) -> None:
    """Restores a checkpoint, evaluates it, and reports the result."""
    config, workdir = options.config, Path(options.workdir)
    distributed.agree(dict(flatten(config)))
    experiment = from_config(config)
    checkpoint = restore.parse_checkpoint(config.eval.checkpoint, "config.eval.checkpoint")
    if not (workdir / run_files.CHECKPOINTS).is_dir():
        raise InputError(f"--workdir={workdir} has no checkpoints/; {suggest_run(workdir)}")
    check_same_network(workdir, config)

    dataset = registry.load(**data_options(config))
    experiment = experiment.with_data(dataset)
    with Checkpoints(
        workdir / run_files.CHECKPOINTS,
        keep=config.train.keep_checkpoints,
        best_of=experiment.objective.metric,
        read_only=True,
    ) as checkpoints:
        restored = checkpoints.restore(
            jax.eval_shape(experiment.initial_variables),
            None if checkpoint == "newest" else checkpoint,
            part=EVALUATED,
        )
    if restored is None:
        raise InputError(f"--workdir={workdir} has no whole checkpoint; train there first")
    step, variables, _ = restored

    devices = DataParallel()
    variables = devices.replicate(variables)

    def evaluate(split: Source) -> tuple[dict[str, float], predictions.Predictions]:
        evaluator = Evaluator(
            experiment.predict, split, experiment.eval_objective, devices, config.eval.batch_size
        )
        return evaluator(variables)

    began = time.monotonic()
    results, outputs = evaluate(dataset.eval)
    held_out = evaluate(dataset.held_out)[0] if dataset.held_out else None
    seconds = time.monotonic() - began

    if jax.process_index() == 0:
        predictions.write(workdir, step, "eval", outputs)
        part = {} if held_out is None else {"held_out": held_out}
        write_json(workdir / run_files.RESULT, {"step": step, **results, **part})
        print(f"step {step:,}: {summary(results)}; {seconds:.1f} s")
        if held_out is not None:
            print(f"held-out part of the training split: {summary(held_out)}")
        print(f"result: {workdir / run_files.RESULT}")


if __name__ == "__main__":
    run(main, parser(), many_processes=True)
