"""Evaluates a checkpoint: top-1 and top-5, every example counted exactly once.

The result goes to the terminal and to eval.json in the workdir.
"""

import time

import jax
from ml_collections import ConfigDict

from experiments import build
from experiments.command_line import UserError, run
from experiments.evaluation import Evaluator
from experiments.workdir import prepare_workdir
from perceiver.training.checkpoints import Checkpoints
from perceiver.training.logs import write_json
from perceiver.training.parallel import DataParallel
from perceiver.training.step import init_state

USAGE = """Evaluates the newest checkpoint of a workdir, or --config.eval.checkpoint=best, or =STEP.

  python -m experiments.evaluate --config=configs/digits.py --workdir=runs/digits
"""


def main(config: ConfigDict, workdir: str) -> None:
    """Restores, evaluates, reports."""
    workdir = prepare_workdir(workdir)
    if not (workdir / "checkpoints").is_dir():
        raise UserError(f"--workdir={workdir} has no checkpoints/; train there first")

    from perceiver.data import registry  # TensorFlow only now: mistakes above are quick

    dataset = registry.load(**build.data_options(config))
    network = build.model(config, len(dataset.class_names))
    optimizer, _ = build.optimizer(config, 1, dataset.train.num_examples)

    def initial_state():
        params = network.init(jax.random.key(0), build.zeros(config))
        return init_state(params, optimizer, ema=config.train.ema_decay > 0)

    with Checkpoints(
        workdir / "checkpoints", keep=config.train.keep_checkpoints, best_of="top1"
    ) as checkpoints:
        wanted = config.eval.checkpoint
        restored = checkpoints.restore(
            jax.eval_shape(initial_state),
            {"newest": None, "best": "best"}.get(wanted) if not wanted.isdigit() else int(wanted),
        )
    if restored is None:
        raise UserError(f"--workdir={workdir} has no whole checkpoint; train there first")
    step, state, _ = restored

    devices = DataParallel()
    evaluator = Evaluator(network.apply, dataset.eval, devices, config.eval.batch_size)
    began = time.monotonic()
    results = evaluator(devices.replicate(state.params_for_evaluation()))
    seconds = time.monotonic() - began
    if jax.process_index() == 0:
        write_json(workdir / "eval.json", {"step": step, **results})
        print(
            f"step {step:,}: top-1 {results['top1']:.2%}, top-5 {results['top5']:.2%}, loss "
            f"{results['loss']:.4f} over {results['num_examples']:,} examples in {seconds:.1f} s; "
            f"{workdir / 'eval.json'}"
        )


if __name__ == "__main__":
    run(main, USAGE)
