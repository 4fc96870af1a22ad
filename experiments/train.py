"""Trains a network as a config describes, and evaluates it during and after training.

Writes the files of `perceiver.run_files` into the workdir. Started again in the same workdir, it
resumes from the newest whole checkpoint. SIGTERM, SIGUSR1 and Ctrl-C save a checkpoint and end the
program with status 75; a second signal ends it at once. Of several processes, process 0 writes.
"""

import argparse
import collections
import contextlib
import time
from pathlib import Path

import jax
from ml_collections import ConfigDict

from experiments.cli import distributed
from experiments.cli.config_files import flatten
from experiments.cli.main import run
from experiments.cli.parser import Parser
from experiments.figures.curves import draw_curves
from experiments.run import predictions
from experiments.run.directory import check_resumable, prepare_workdir, write_run
from experiments.run.evaluator import Evaluator, summary
from experiments.run.from_config import (
    Experiment,
    check_batch,
    data_options,
    from_config,
    training_batches,
)
from experiments.run.lock import RunLock
from perceiver import run_files
from perceiver.data import registry
from perceiver.data.dataset import Dataset
from perceiver.errors import InputError
from perceiver.training.checkpoints import Checkpoints
from perceiver.training.durations import is_due
from perceiver.training.finite import blame
from perceiver.training.host_memory import release_freed_memory
from perceiver.training.logging.metrics import MetricLog, read_metrics, write_json
from perceiver.training.logging.progress import Progress
from perceiver.training.parallel import DataParallel
from perceiver.training.step import inputs_of
from perceiver.training.stopping import EXIT_STOPPED, StopRequest

# Metrics that the progress line shows.
SHOWN = ("loss", "top1")

# Largest number of steps whose metrics stay on the devices, also if a run never logs.
_MOST_PENDING = 100

# Seconds of work that the host may queue on the devices: enough to keep them busy, and so little
# that a stop is quick. Until the duration of a step is known, the host queues one step.
_QUEUED_SECONDS = 2.0
_MOST_QUEUED = 32
_TIMED_STEPS = 5

# Number of steps after which the processes read their vote on stopping. By then a fast device has
# computed the vote, so that the host does not wait; more steps would delay the stop.
_VOTE_LAG = 4


def parser() -> Parser:
    """Returns the parser of the program's flags."""
    parser = Parser(
        "experiments.train",
        "Trains a network as a config describes; resumes if the workdir has a checkpoint.",
        examples=["--config=configs/digits.py --workdir=runs/digits"],
    )
    parser.add_config()
    parser.add_workdir("folder of the run: checkpoints, curves, results")
    parser.add_switch(
        "insist", "resume although values of the config differ that make it another run"
    )
    return parser


def main(options: argparse.Namespace) -> int | None:
    """Trains, and returns the exit status."""
    return train(options.config, options.workdir, insist=options.insist)


def train(config: ConfigDict, workdir: str, *, insist: bool = False) -> int | None:
    """Trains in a workdir in which no other run trains.

    Args:
      config: The run's config.
      workdir: The run's folder, the same for all processes.
      insist: True to resume although values of the config differ that make it another run.

    Returns:
      The exit status.
    """
    distributed.agree(dict(flatten(config)))
    experiment = from_config(config)
    check_batch(config)
    with RunLock(prepare_workdir(workdir)) as folder:
        check_resumable(folder, config, insist=insist)
        return train_locked(experiment, folder)


def train_locked(experiment: Experiment, workdir: Path) -> int | None:
    """Trains in a locked workdir; returns the exit status."""
    config = experiment.config
    writes = jax.process_index() == 0

    # Data. Evaluation during training uses the held-out part, if there is one, so that nothing is
    # chosen on the split that `experiments.evaluate` reports.
    dataset = registry.load(**data_options(config))
    experiment = experiment.with_data(dataset)
    last = experiment.total_steps
    batches = training_batches(
        config,
        dataset.train,
        batch_size=config.train.batch_size // jax.process_count(),
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )

    # Steps, mapped over all devices.
    devices = DataParallel()
    train_step = devices.map(experiment.train_step(), donate=(0,))
    evaluate = Evaluator(
        experiment.predict,
        dataset.held_out or dataset.eval,
        experiment.eval_objective,
        devices,
        config.eval.batch_size,
    )

    with contextlib.ExitStack() as stack:
        # State: initial, or from the newest checkpoint.
        checkpoints = stack.enter_context(
            Checkpoints(
                workdir / run_files.CHECKPOINTS,
                keep=config.train.keep_checkpoints,
                best_of=experiment.objective.metric,
            )
        )
        first, state = 0, None
        found = checkpoints.restore(jax.eval_shape(experiment.initial_state))
        if found is not None:
            first, state, position = found
            batches.restore(position)
        if first > last:
            raise InputError(
                f"--workdir={workdir} is at step {first:,}, the config ends at {last:,}; "
                "take another workdir, or raise config.train.steps"
            )
        if state is None:
            state = jax.jit(experiment.initial_state)()
        write_run(workdir, config, experiment.total_cost.parameters, dataset.class_names)
        introduce(experiment, dataset, first)
        state = devices.replicate(state)
        release_freed_memory()

        log = stack.enter_context(MetricLog(workdir, resume_step=first, active=writes))
        progress = stack.enter_context(
            Progress(last, start=first, examples_per_step=config.train.batch_size, active=writes)
        )
        stop = stack.enter_context(StopRequest())
        stop_vote = StopVote(devices, stop)
        queue = Queue()
        pending = []  # steps and metrics that are still on the devices, the oldest first
        evaluation = None  # results and predictions after the last step

        for step in range(first + 1, last + 1):
            with progress.waiting_for_data():
                batch = devices.shard(next(batches))
            state, metrics = train_step(state, batch)
            pending.append((step, metrics))
            queue.wait(metrics)
            if step == first + 1:
                progress.mark(step)  # the clock starts after compilation
            stopping = stop_vote()
            evaluation_due = is_due(step, experiment.eval_every, last=last)
            saving = evaluation_due or is_due(step, experiment.checkpoint_every, last=last)

            # Metrics are fetched one step late, while the devices compute the next step. Before a
            # checkpoint is saved or the run ends, all of them are fetched and checked.
            settled = saving or stopping or step == last
            fetching = pending if settled else pending[:-1]
            log_due = fetching and is_due(fetching[-1][0], config.train.log_every, last=last)
            if settled or log_due or len(pending) > _MOST_PENDING:
                pending = pending[len(fetching) :]
                for done, fetched in fetch(devices, fetching):
                    wrong = blame(
                        fetched.pop("not_finite"), inputs_of(batch), state.variables.params
                    )
                    values = {name: float(x) for name, x in fetched.items()}
                    if wrong or is_due(done, config.train.log_every, last=last):
                        log.write(done, "train", **values)
                    if is_due(done, config.train.log_every, last=last):
                        shown = {name: values[name] for name in SHOWN if name in values}
                        log.write_speed(done, **progress.update(done, shown))
                    if wrong:
                        raise FloatingPointError(complaint(done, *wrong, values["loss"]))

            evaluation = None
            if evaluation_due or (step == last and not stopping):
                evaluation = evaluate(state.for_evaluation())
                log.write(step, "eval", **evaluation[0])
                progress.message(f"step {step}: {summary(evaluation[0])}")
            if saving or stopping:
                results = evaluation[0] if evaluation else None
                checkpoints.save(step, devices.first(state), batches.state(), results)
            if stopping:
                checkpoints.wait()
                cause = stop.requested or "a signal to another process"
                say(f"stopped by {cause}: step {step:,} is saved; run again to go on")
                return EXIT_STOPPED

        if evaluation is None:  # a run that had reached its end before
            evaluation = evaluate(state.for_evaluation())
            if writes and not has_evaluation(workdir, last):
                log.write(last, "eval", **evaluation[0])

    if writes:
        finish(workdir, last, dataset, *evaluation)
    return None


class Queue:
    """The steps that the host has started and the devices have not finished.

    Waiting here fetches nothing, and the devices always have a step to compute.
    """

    def __init__(self):
        """Starts with an empty queue."""
        self._metrics: collections.deque = collections.deque()
        self._size = 0
        self._started = 0
        self._since = 0.0

    def wait(self, metrics: dict[str, jax.Array]) -> None:
        """Adds a step, and waits until the queue has its size again.

        Args:
          metrics: the metrics of the step.
        """
        self._metrics.append(metrics)
        while len(self._metrics) > self._size:
            jax.block_until_ready(self._metrics.popleft())
        self._started += 1
        if self._started == 1:  # the first step, with compilation, is done
            self._size, self._since = 1, time.monotonic()
        elif self._started == 1 + _TIMED_STEPS:
            seconds = (time.monotonic() - self._since) / _TIMED_STEPS
            self._size = min(max(1, int(_QUEUED_SECONDS / max(seconds, 1e-9))), _MOST_QUEUED)


class StopVote:
    """The processes' agreement on the step after which all of them stop."""

    def __init__(self, devices: DataParallel, stop: StopRequest):
        """Votes over all devices; a single process follows its own request."""
        self._devices = devices
        self._stop = stop
        self._votes: collections.deque[jax.Array] = collections.deque()

    def __call__(self) -> bool:
        """Returns whether to stop after this step; called once a step by every process."""
        if jax.process_count() == 1:
            return bool(self._stop.requested)
        self._votes.append(self._devices.any(bool(self._stop.requested)))
        return len(self._votes) > _VOTE_LAG and bool(self._devices.first(self._votes.popleft()))


def fetch(devices: DataParallel, pending: list[tuple[int, dict]]) -> list[tuple[int, dict]]:
    """Waits for the last of several steps and returns their metrics as host arrays."""
    jax.block_until_ready(pending[-1][1])
    steps, metrics = zip(*pending, strict=True)
    return list(zip(steps, devices.first(list(metrics)), strict=True))


def has_evaluation(workdir: Path, step: int) -> bool:
    """Returns whether the metrics contain an evaluation at a step."""
    return any(r["step"] == step and r["split"] == "eval" for r in read_metrics(workdir))


def introduce(experiment: Experiment, dataset: Dataset, first: int) -> None:
    """Prints the sizes of the network, the data and the run, and the step at which it resumes."""
    config, cost, last = experiment.config, experiment.total_cost, experiment.total_steps
    batch, examples = config.train.batch_size, dataset.train.num_examples
    watched = dataset.held_out or dataset.eval
    say(
        f"{cost.parameters:,} parameters, {cost.flops / 1e9:,.3g} GFLOPs an example forward; "
        f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    )
    say(
        f"{experiment.num_classes} classes, {examples:,} training and "
        f"{watched.num_examples:,} evaluation examples"
    )
    if config.data.num_classes != experiment.num_classes:
        say(f"(config.data.num_classes={config.data.num_classes} differs from the data set)")
    say(
        f"{last:,} steps of {batch:,}, {last * batch / examples:,.1f} epochs"
        + (f"; resumed at step {first:,}" if first else "")
    )


def complaint(step: int, kind: str, parts: str, loss: float) -> str:
    """Returns the error message for values that are not finite; see `finite.blame`."""
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


def finish(
    workdir: Path,
    step: int,
    dataset: Dataset,
    results: dict[str, float],
    outputs: predictions.Predictions,
) -> None:
    """Writes result, predictions and curves, and prints where they are."""
    split = "held_out" if dataset.held_out else "eval"
    predictions.write(workdir, step, split, outputs)
    result = workdir / run_files.RESULT
    if dataset.held_out:
        write_json(result, {"step": step, "held_out": results})
        say(f"reached, at step {step:,}, on the held-out part: {summary(results)}")
        say("the test split is untouched: python -m experiments.evaluate reports on both")
    else:
        write_json(result, {"step": step, **results})
        say(f"reached, at step {step:,}: {summary(results)}")
    say(f"curves: {draw_curves(workdir)}; result: {result}")


def say(text: str) -> None:
    """Prints a line, on process 0."""
    if jax.process_index() == 0:
        print(text, flush=True)


if __name__ == "__main__":
    run(main, parser(), many_processes=True)
