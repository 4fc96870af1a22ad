"""Evaluates a checkpoint, every example counted exactly once.

The result goes to the terminal and to eval.json in the workdir. It may run beside the training.
"""

import functools
import time
from pathlib import Path

import jax
from ml_collections import ConfigDict

from experiments import build, checks, networks, processes
from experiments.command_line import UserError, flatten, run
from experiments.evaluation import Evaluator, summary
from experiments.workdir import check_same_network
from perceiver.training.checkpoints import Checkpoints
from perceiver.training.logs import write_json
from perceiver.training.parallel import DataParallel

USAGE = """Evaluates the newest checkpoint of a workdir, or --config.eval.checkpoint=best, or =STEP.

  python -m experiments.evaluate --config=configs/digits.py --workdir=runs/digits
"""


def main(config: ConfigDict, workdir: str) -> None:
    """Restores, evaluates, reports."""
    processes.agree(dict(flatten(config)))
    workdir = Path(workdir)
    checks.check(config)
    wanted = checkpoint(config.eval.checkpoint)
    if not (workdir / "checkpoints").is_dir():
        raise UserError(f"--workdir={workdir} has no checkpoints/; train there first")
    check_same_network(workdir, config)

    from perceiver.data import registry  # TensorFlow only now: mistakes above are quick

    dataset = registry.load(**build.data_options(config))
    checks.check_data(config, dataset)
    network = networks.network(config, len(dataset.class_names))
    optimizer, _ = build.optimizer(config, dataset.train.num_examples)
    objective = build.objective(config, training=False)
    state_spec = jax.eval_shape(functools.partial(build.initial_state, config, network, optimizer))
    with Checkpoints(
        workdir / "checkpoints",
        keep=config.train.keep_checkpoints,
        best_of=objective.metric,
        read_only=True,
    ) as checkpoints:
        restored = checkpoints.restore(state_spec, wanted)
    if restored is None:
        raise UserError(f"--workdir={workdir} has no whole checkpoint; train there first")
    step, state, _ = restored

    devices = DataParallel()
    variables = devices.replicate(state.for_evaluation())
    predict = networks.predictor(network)

    def evaluated(source) -> dict[str, float]:
        evaluate = Evaluator(predict, source, objective, devices, config.eval.batch_size)
        return evaluate(variables)

    began = time.monotonic()
    results = {"step": step, **evaluated(dataset.eval)}
    if dataset.held_out:
        results["held_out"] = evaluated(dataset.held_out)
    seconds = time.monotonic() - began
    if jax.process_index() == 0:
        write_json(workdir / "eval.json", results)
        print(f"step {step:,}: {summary(results)}; {seconds:.1f} s")
        if dataset.held_out:
            print(f"held-out part of the training split: {summary(results['held_out'])}")
        print(f"result: {workdir / 'eval.json'}")


def checkpoint(value: str) -> int | str | None:
    """What `config.eval.checkpoint` says, as `Checkpoints.restore` takes it."""
    if value == "newest":
        return None
    if value == "best":
        return "best"
    if value.isdecimal():
        return int(value)
    raise UserError(f"config.eval.checkpoint={value} is not newest, best or a step")


if __name__ == "__main__":
    run(main, USAGE, many_processes=True)
