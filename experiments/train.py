"""Trains a network as a config says, and evaluates it on the way.

In the workdir: config.json, metrics.jsonl, TensorBoard events, checkpoints/, curves.png, eval.json,
predictions.npz, and lock while it runs. Started again in the same workdir it resumes. SIGTERM,
SIGUSR1 and Ctrl-C save and end it with status 75; a second signal ends it at once. Process 0 of
several writes.
"""

import functools
import os
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from experiments.cli import distributed
from experiments.cli.config_files import flatten
from experiments.cli.main import run
from experiments.cli.parser import Parser
from experiments.run import build, checks, networks, predictions
from experiments.run.directory import check_resumable, prepare_workdir, write_run
from experiments.run.evaluator import Evaluator, summary
from experiments.run.lock import RunLock
from perceiver.costs import Cost, total
from perceiver.errors import InputError
from perceiver.training.checkpoints import Checkpoints
from perceiver.training.durations import is_due
from perceiver.training.finite import blame
from perceiver.training.host_memory import release_freed_memory
from perceiver.training.logging.curves import draw_curves
from perceiver.training.logging.metrics import MetricLog, NoLog, write_json
from perceiver.training.logging.progress import Progress
from perceiver.training.parallel import DataParallel
from perceiver.training.step import TrainState, inputs_of
from perceiver.training.stopping import EXIT_STOPPED, StopRequest


def parser() -> Parser:
    """Returns the parser of the program's flags."""
    parser = Parser(
        "experiments.train",
        "Trains a network as a config says; resumes where the workdir has a checkpoint.",
        examples=["--config=configs/digits.py --workdir=runs/digits"],
    )
    parser.add_config()
    parser.add_workdir("folder of the run: checkpoints, curves, results")
    parser.add_switch(
        "insist", "resume although values of the config differ that make it another run"
    )
    return parser


def main(config: ConfigDict, workdir: str, *, insist: bool = False) -> int | None:
    """Trains where no other run does.

    Args:
      config: of the run.
      workdir: its folder, the same one for all processes.
      insist: whether to resume with values of the config that make it another run.

    Returns:
      The exit status.
    """
    distributed.agree(dict(flatten(config)))
    checks.check(config)
    checks.check_batch(config)
    with RunLock(prepare_workdir(workdir)) as folder:
        check_resumable(folder, config, insist=insist)
        return train(config, folder)


def train(config: ConfigDict, workdir: Path) -> int | None:
    """Trains in a workdir that is this run's alone; returns the exit status."""
    # Data.
    from perceiver.data import registry  # TensorFlow only now: mistakes above are quick

    dataset = registry.load(**build.data_options(config))
    checks.check_data(config, dataset)
    num_classes, num_examples = len(dataset.class_names), dataset.train.num_examples
    iterator = build.train_iterator(
        config,
        dataset.train,
        batch_size=config.train.batch_size // jax.process_count(),
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    # What is chosen by is not what is reported: `experiments.evaluate` reports on both.
    watched = dataset.held_out or dataset.eval

    # Model, optimiser, durations.
    network = networks.network(config, num_classes)
    optimizer, schedule = build.optimizer(config, num_examples)
    initial_state = functools.partial(build.initial_state, config, network, optimizer)
    objective = build.objective(config, training=True)
    last = build.total_steps(config, num_examples)
    eval_every = build.interval(config, "eval_every", num_examples)
    checkpoint_every = build.interval(config, "checkpoint_every", num_examples)

    # Steps, on all devices.
    devices = DataParallel()
    train_step = devices.map(
        build.train_step(config, network, optimizer, schedule, objective), donate=(0,)
    )
    evaluate = Evaluator(
        networks.predictor(network),
        watched,
        build.objective(config, training=False),
        devices,
        config.eval.batch_size,
    )

    with Checkpoints(
        workdir / "checkpoints", keep=config.train.keep_checkpoints, best_of=objective.metric
    ) as checkpoints:
        start = restored(checkpoints, jax.eval_shape(initial_state), iterator)
        step, state = start or (0, jax.jit(initial_state)())
        if step > last:
            raise InputError(
                f"--workdir={workdir} is at step {step:,}, the config ends at {last:,}; "
                "take another workdir, or raise config.train.steps"
            )
        cost = total(networks.costs(config, num_classes))
        write_run(workdir, config, cost.parameters, dataset.class_names)
        introduce(config, cost, num_classes, num_examples, watched.num_examples, step, last)
        state = devices.replicate(state)
        release_freed_memory()
        results = None
        writes = jax.process_index() == 0
        with (
            MetricLog(workdir, resume_step=step) if writes else NoLog() as log,
            open(os.devnull, "w") as nowhere,
            Progress(
                last,
                start=step,
                examples_per_step=config.train.batch_size,
                stream=None if writes else nowhere,
            ) as progress,
            StopRequest() as stop,
        ):

            def report(step: int, metrics: dict[str, jax.Array]) -> bool:
                """Waits for a step, logs it, and ends the run where it went wrong.

                Returns whether a process was asked to stop.
                """
                jax.block_until_ready(metrics)
                progress.mark(step)
                values = devices.first(metrics)
                stopping = bool(values.pop("stopping", False))
                flags = values.pop("not_finite")
                values = {name: float(x) for name, x in values.items()}
                wrong = blame(flags, inputs_of(batch), state.variables.params)
                logging = is_due(step, config.train.log_every, last=last)
                if logging or wrong:
                    log.write(step, "train", **values)
                if logging:
                    shown = {"loss": "loss", "accuracy": "top1"}
                    speed = progress.update(
                        step, {s: values[k] for s, k in shown.items() if k in values}
                    )
                    log.write_speed(step, **speed)
                if wrong:
                    raise FloatingPointError(complaint(step, *wrong, values["loss"]))
                return stopping

            unreported = None
            while step < last:
                with progress.waiting_for_data():
                    batch = devices.shard(next(iterator))
                state, metrics = train_step(state, batch)
                step += 1
                stopping = bool(stop.requested)
                if jax.process_count() > 1:  # all have to stop at the same step
                    metrics["stopping"] = devices.any(stopping)
                    stopping = False
                # A step late, so that the devices have the next one to do meanwhile; later than
                # that, steps would pile up.
                if unreported:
                    stopping |= report(*unreported)
                unreported = (step, metrics)

                evaluating = is_due(step, eval_every, last=last)
                saving = is_due(step, checkpoint_every, last=last) or evaluating
                results = None
                kept = saving or stopping
                if kept or step == last:
                    report(*unreported)  # before anything of this step is saved
                    unreported = None
                if evaluating:
                    results, said = evaluate.with_predictions(state.for_evaluation())
                    log.write(step, "eval", **results)
                    progress.message(f"step {step}: {summary(results)}")
                if kept:
                    checkpoints.save(step, devices.first(state), iterator.state(), results)
                if stopping:
                    checkpoints.wait()
                    by = stop.requested or "a signal to another process"
                    say(f"stopped by {by}: step {step:,} is saved; run again to go on")
                    return EXIT_STOPPED

        if results is None:
            results, said = evaluate.with_predictions(state.for_evaluation())
    if jax.process_index() == 0:
        predictions.write(workdir, step, "held_out" if dataset.held_out else "eval", said)
    finish(workdir, step, {"held_out": results} if dataset.held_out else results)
    return None


def restored(
    checkpoints: Checkpoints, abstract_state: TrainState, iterator
) -> tuple[int, TrainState] | None:
    """The newest checkpoint's step and state, the iterator put in its place; None without one."""
    found = checkpoints.restore(abstract_state)
    if found is None:
        return None
    step, state, position = found
    iterator.restore(position)
    return step, state


def introduce(
    config: ConfigDict,
    cost: Cost,
    classes: int,
    train_examples: int,
    eval_examples: int,
    step: int,
    last: int,
) -> None:
    """Says what is about to be trained."""
    batch = config.train.batch_size
    say(
        f"{cost.parameters:,} parameters, {cost.flops / 1e9:,.3g} GFLOPs an example forward; "
        f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    )
    say(f"{classes} classes, {train_examples:,} training and {eval_examples:,} evaluation examples")
    if config.data.num_classes != classes:
        say(f"(config.data.num_classes={config.data.num_classes} is not what the data set has)")
    say(
        f"{last:,} steps of {batch:,}, {last * batch / train_examples:,.1f} epochs"
        + (f"; resumed at step {step:,}" if step else "")
    )


def complaint(step: int, kind: str, parts: str, loss: float) -> str:
    """Says what is no longer a number, see `perceiver.training.finite`, and what to do."""
    if kind == "inputs":
        return (
            f"{parts} of the batch is not finite at step {step}; "
            "look at the data with python -m experiments.show_data"
        )
    found = {
        "parameters": f"parameters of {parts} are not finite before",
        "loss": f"loss is {loss} at",
        "gradient": f"gradient of {parts} is not finite at",
    }[kind]
    return (
        f"{found} step {step}; lower config.optimizer.learning_rate or "
        "set config.optimizer.clip_norm"
    )


def finish(workdir: Path, step: int, results: dict[str, Any]) -> None:
    """Writes the result and the curves, and says where they are."""
    if jax.process_index() != 0:
        return
    write_json(workdir / "eval.json", {"step": step, **results})
    if "held_out" in results:
        say(f"reached, at step {step:,}, on the held-out part: {summary(results['held_out'])}")
        say("the test split is untouched: python -m experiments.evaluate reports on both")
    else:
        say(f"reached, at step {step:,}: {summary(results)}")
    say(f"curves: {draw_curves(workdir)}; result: {workdir / 'eval.json'}")


def say(text: str) -> None:
    """Prints, on one process."""
    if jax.process_index() == 0:
        print(text, flush=True)


if __name__ == "__main__":
    run(
        lambda options: main(options.config, options.workdir, insist=options.insist),
        parser(),
        many_processes=True,
    )
