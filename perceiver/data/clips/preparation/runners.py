"""Runs the work on the shards of a split: with Apache Beam, or with threads of this process."""

import concurrent.futures
import contextlib
import functools
import importlib.util
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from perceiver.data.clips.preparation.shards import SplitShards, reported_shards, write_shard
from perceiver.data.errors import reason
from perceiver.errors import InputError

_REFRESH_SECONDS = 5

Runner = Callable[[SplitShards, Sequence[int]], None]  # writes the shards with these numbers


def beam_runner(options: Sequence[str] = ()) -> Runner:
    """Returns a runner that uses Apache Beam.

    Args:
      options: options of Beam, for example `--runner=DataflowRunner`. Without a Beam runner, the
        work runs on all cores of this machine, or on as many as `--direct_num_workers` says.

    Raises:
      InputError: Beam is not installed. The runner raises one if Beam rejects the options.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise InputError(
            "Apache Beam is not installed: run python -m pip install -e '.[train]' -c "
            "constraints.txt"
        )
    return functools.partial(_run_with_beam, options=options)


def _run_with_beam(split: SplitShards, shards: Sequence[int], *, options: Sequence[str]) -> None:
    logging.disable(logging.WARNING)  # Beam warns of each cloud whose library is not installed
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    finally:
        logging.disable(logging.NOTSET)

    write = write_shard
    if not any(re.match("--runner(=|$)", option) for option in options):
        write = _write_unless_stopped
        options = [
            "--runner=FnApiRunner",
            # Threads are enough, because each uses a decoder process.
            "--direct_running_mode=multi_threading",
            f"--direct_num_workers={min(_num_cores(), len(shards))}",
            *options,
        ]
    try:
        pipeline = beam.Pipeline(options=PipelineOptions(list(options)))
    except ValueError as error:
        raise InputError(
            f"Beam rejects the options {' '.join(options)!r}: {reason(error)}"
        ) from error
    _errors.clear()
    with pipeline:
        shard_numbers = pipeline | beam.Create(list(shards), reshuffle=True)
        shard_numbers | beam.Map(functools.partial(write, split))
    if _errors:
        raise _errors[0]


# Errors that stop the work on this machine. Beam prints pages about an error that reaches it.
_errors: list[InputError] = []


def _write_unless_stopped(split: SplitShards, shard: int) -> None:
    if not _errors:
        try:
            write_shard(split, shard)
        except InputError as error:
            _errors.append(error)


def run_in_threads(split: SplitShards, shards: Sequence[int]) -> None:
    """Runs the work in threads of this process, one per core, without Beam."""
    with concurrent.futures.ThreadPoolExecutor(_num_cores()) as pool:
        futures = [pool.submit(write_shard, split, shard) for shard in shards]
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _num_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def show_progress(split: SplitShards, shards: Sequence[int]) -> Iterator[None]:
    """Shows the number of written shards on stderr inside the context, if it is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    finished = threading.Event()

    def show() -> None:
        while not finished.wait(_REFRESH_SECONDS):
            done = f"{len(reported_shards(split) & set(shards)):,} of {len(shards):,} shards"
            print(f"\r{split.name}: {done}", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=show)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
        print(file=sys.stderr)
