"""Trains a Perceiver as a config says, and evaluates it on the way.

In the workdir: config.json, metrics.jsonl, TensorBoard events, checkpoints/, curves.png, eval.json.
Started again in the same workdir it resumes. SIGTERM and SIGUSR1 save and end it with status 75; a
second signal ends it at once.
"""

import time

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments import build
from experiments.command_line import run
from experiments.evaluation import Evaluator, model_inputs
from experiments.workdir import prepare_workdir, write_run
from perceiver.costs import total
from perceiver.training.checkpoints import Checkpoints
from perceiver.training.curves import draw_curves
from perceiver.training.durations import is_due
from perceiver.training.logs import MetricLog, write_json
from perceiver.training.parallel import AXIS, DataParallel
from perceiver.training.progress import Progress
from perceiver.training.step import TrainState, init_state, make_train_step
from perceiver.training.stopping import EXIT_STOPPED, StopRequest

USAGE = """Trains a Perceiver as a config says; resumes where the workdir has a checkpoint.

  python -m experiments.train --config=configs/digits.py --workdir=runs/digits
"""


def main(config: ConfigDict, workdir: str) -> int | None:
    """Returns the exit status."""
    build.check_batch("train", config.train.batch_size, config.train.accumulate)
    workdir = prepare_workdir(workdir)

    # Data.
    from perceiver.data import pipeline, registry  # TensorFlow only now: mistakes above are quick

    dataset = registry.load(**build.data_options(config))
    num_classes, num_train = len(dataset.class_names), dataset.train.num_examples
    iterator = pipeline.train_iterator(
        dataset.train,
        batch_size=config.train.batch_size // jax.process_count(),
        seed=config.train.seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )

    # Model and optimiser.
    lengths = build.lengths(config, num_train)
    network = build.model(config, num_classes)
    optimizer, schedule = build.optimizer(config, lengths.total, num_train)

    def initial_state() -> TrainState:
        params = network.init(jax.random.key(config.train.seed), build.zeros(config))
        return init_state(params, optimizer, ema=config.train.ema_decay > 0)

    # Devices.
    devices = DataParallel()
    train_step = devices.map(
        make_train_step(
            network.apply,
            optimizer,
            schedule,
            label_smoothing=config.train.label_smoothing,
            ema_decay=config.train.ema_decay,
            accumulate=config.train.accumulate,
            axis=AXIS,
        ),
        donate=(0,),
    )
    evaluator = Evaluator(network.apply, dataset.eval, devices, config.eval.batch_size)

    with Checkpoints(
        workdir / "checkpoints", keep=config.train.keep_checkpoints, best_of="top1"
    ) as checkpoints:
        # Start, or go on.
        start, state, iterator_state = checkpoints.restore(jax.eval_shape(initial_state)) or (
            0,
            jax.jit(initial_state)(),
            None,
        )
        if iterator_state is not None:
            iterator.restore(iterator_state)
        write_run(workdir, config)
        cost = total(build.costs(config, num_classes))
        say(
            f"{cost.parameters:,} parameters, {cost.flops / 1e9:,.2f} GFLOPs an example forward; "
            f"{num_train:,} training and {dataset.eval.num_examples:,} evaluation examples of "
            f"{num_classes} classes; {jax.device_count()} x {jax.devices()[0].device_kind}"
        )
        say(
            f"{lengths.total:,} steps of {config.train.batch_size} "
            f"({lengths.total * config.train.batch_size / num_train:.1f} epochs)"
            + (f", resumed at step {start:,}" if start else "")
        )
        state = devices.replicate(state)

        progress = Progress(
            lengths.total, start=start, examples_per_step=config.train.batch_size
        )
        began = time.monotonic()
        results = None
        with MetricLog(workdir, resume_step=start) as log, progress, StopRequest() as stop:
            previous = None
            for step in range(start + 1, lengths.total + 1):
                batch = devices.shard(model_inputs(next(iterator)))
                state, metrics = train_step(state, batch)
                # One step is in flight while the next batch is made, and no more than one.
                jax.block_until_ready(previous)
                previous = metrics

                results = None
                if is_due(step, config.train.log_every, last=lengths.total):
                    values = {k: float(v) for k, v in devices.first(metrics).items()}
                    log.write(step, "train", **values)
                    check_finite(step, values)
                    progress.update(step, values)
                if is_due(step, lengths.eval_every, last=lengths.total):
                    results = evaluator(state.params_for_evaluation())
                    log.write(step, "eval", **results)
                    progress.message(
                        f"step {step}: evaluation top-1 {results['top1']:.2%}, top-5 "
                        f"{results['top5']:.2%} of {results['num_examples']:,} examples"
                    )
                due = is_due(step, lengths.checkpoint_every, last=lengths.total)
                if due or results or stop.requested:
                    checkpoints.save(step, devices.first(state), iterator.state(), results)
                if stop.requested:
                    checkpoints.wait()
                    say(f"stopped by {stop.requested}: step {step:,} is saved; run again to go on")
                    return EXIT_STOPPED

        results = results or evaluator(state.params_for_evaluation())

    seconds = time.monotonic() - began
    if jax.process_index() == 0:
        write_json(workdir / "eval.json", {"step": lengths.total, **results})
        curves = draw_curves(workdir)
        right = round(results["top1"] * results["num_examples"])
        say(
            f"reached top-1 {results['top1']:.2%} ({right:,} of {results['num_examples']:,}) "
            f"at step {lengths.total:,}; this run took {seconds:.0f} s"
        )
        say(f"curves: {curves}; figures: {workdir / 'metrics.jsonl'}; result: {workdir / 'eval.json'}")
    return None


def check_finite(step: int, values: dict[str, float]) -> None:
    """Ends the run where the loss or the gradient is no longer a number."""
    for name in ("loss", "gradient_norm"):
        if not np.isfinite(values[name]):
            raise FloatingPointError(
                f"{name} is {values[name]} at step {step}; lower config.optimizer.learning_rate or "
                "set config.optimizer.clip_norm"
            )


def say(text: str) -> None:
    """Prints, on one process."""
    if jax.process_index() == 0:
        print(text, flush=True)


if __name__ == "__main__":
    run(main, USAGE)
