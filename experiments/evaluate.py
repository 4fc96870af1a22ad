"""Evaluates a checkpoint, every example counted exactly once.

The result goes to the terminal and to eval.json in the workdir, what was said of each example to
predictions.npz. It may run beside the training.
"""

import functools
import time
from pathlib import Path

import jax
from ml_collections import ConfigDict

from experiments.cli import distributed
from experiments.cli.config_files import flatten
from experiments.cli.main import run
from experiments.cli.parser import Parser
from experiments.run import build, checks, networks, predictions, restore
from experiments.run.directory import check_same_network
from experiments.run.evaluator import Evaluator, summary
from perceiver.errors import InputError
from perceiver.library.runs import what_to_do
from perceiver.training.checkpoints import Checkpoints
from perceiver.training.logging.metrics import write_json
from perceiver.training.parallel import DataParallel
from perceiver.training.step import EVALUATED


def parser() -> Parser:
    """Returns the parser of the program's flags."""
    parser = Parser(
        "experiments.evaluate",
        "Evaluates the newest checkpoint of a workdir, or --config.eval.checkpoint=best, or =STEP.",
        examples=["--config=configs/digits.py --workdir=runs/digits"],
    )
    parser.add_config()
    parser.add_workdir("folder of the run: checkpoints, results")
    return parser


def main(config: ConfigDict, workdir: str) -> None:
    """Restores, evaluates, reports."""
    distributed.agree(dict(flatten(config)))
    workdir = Path(workdir)
    checks.check(config)
    wanted = restore.which(config.eval.checkpoint, "config.eval.checkpoint")
    if not (workdir / "checkpoints").is_dir():
        raise InputError(f"--workdir={workdir} has no checkpoints/; {what_to_do(workdir)}")
    check_same_network(workdir, config)

    from perceiver.data import registry  # TensorFlow only now: mistakes above are quick

    dataset = registry.load(**build.data_options(config))
    checks.check_data(config, dataset)
    network = networks.network(config, len(dataset.class_names))
    objective = build.objective(config, training=False)
    spec = jax.eval_shape(functools.partial(networks.initial_variables, network, config))
    with Checkpoints(
        workdir / "checkpoints",
        keep=config.train.keep_checkpoints,
        best_of=objective.metric,
        read_only=True,
    ) as checkpoints:
        step = None if wanted == "newest" else wanted
        restored = checkpoints.restore(spec, step, part=EVALUATED)
    if restored is None:
        raise InputError(f"--workdir={workdir} has no whole checkpoint; train there first")
    step, variables, _ = restored

    devices = DataParallel()
    variables = devices.replicate(variables)
    predict = networks.predictor(network)

    def evaluator(source) -> Evaluator:
        return Evaluator(predict, source, objective, devices, config.eval.batch_size)

    began = time.monotonic()
    results, said = evaluator(dataset.eval).with_predictions(variables)
    results = {"step": step, **results}
    if dataset.held_out:
        results["held_out"] = evaluator(dataset.held_out)(variables)
    seconds = time.monotonic() - began
    if jax.process_index() == 0:
        predictions.write(workdir, step, "eval", said)
        write_json(workdir / "eval.json", results)
        print(f"step {step:,}: {summary(results)}; {seconds:.1f} s")
        if dataset.held_out:
            print(f"held-out part of the training split: {summary(results['held_out'])}")
        print(f"result: {workdir / 'eval.json'}")


if __name__ == "__main__":
    run(lambda options: main(options.config, options.workdir), parser(), many_processes=True)
