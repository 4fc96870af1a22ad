"""Two ways to write the shards of a split: Apache Beam, and the threads of one process."""

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

from perceiver.data.clips.preparation import shards
from perceiver.data.errors import reason
from perceiver.errors import InputError

_REFRESH = 5  # seconds

Run = Callable[[shards.Split, Sequence[int]], None]  # writes the shards that have these numbers


def on_beam(options: Sequence[str] = ()) -> Run:
    """Work spread by Apache Beam.

    Args:
      options: those of Beam, such as `--runner=DataflowRunner`. Without a runner, the cores of
        this machine do the work, or as many at once as `--direct_num_workers` says.

    Raises:
      InputError: Beam is not installed. What it runs raises one where Beam refuses the options.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise InputError(
            "Apache Beam is not installed: run python -m pip install -e '.[train]' -c "
            "constraints.txt"
        )
    return functools.partial(_run_on_beam, options=options)


def _run_on_beam(split: shards.Split, todo: Sequence[int], *, options: Sequence[str]) -> None:
    logging.disable(logging.WARNING)  # Beam warns of each cloud whose library is not installed
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    finally:
        logging.disable(logging.NOTSET)

    write = shards.write
    if not any(re.match("--runner(=|$)", option) for option in options):
        write = _write_here
        options = [
            "--runner=FnApiRunner",
            # Threads are enough, as each has a process that decodes for it.
            "--direct_running_mode=multi_threading",
            f"--direct_num_workers={min(_cores(), len(todo))}",
            *options,
        ]
    try:
        pipeline = beam.Pipeline(options=PipelineOptions(list(options)))
    except ValueError as error:
        raise InputError(
            f"Beam refuses the options {' '.join(options)!r}: {reason(error)}"
        ) from error
    _stopped.clear()
    with pipeline:
        shard_numbers = pipeline | beam.Create(list(todo), reshuffle=True)
        shard_numbers | beam.Map(functools.partial(write, split))
    if _stopped:
        raise _stopped[0]


# Why the work on this machine ends early. Beam would print pages about it.
_stopped: list[InputError] = []


def _write_here(split: shards.Split, shard: int) -> None:
    if not _stopped:
        try:
            shards.write(split, shard)
        except InputError as error:
            _stopped.append(error)


def in_threads(split: shards.Split, todo: Sequence[int]) -> None:
    """Work done by threads of this process, one a core; it needs no Beam."""
    with concurrent.futures.ThreadPoolExecutor(_cores()) as pool:
        written = [pool.submit(shards.write, split, shard) for shard in todo]
        try:
            for future in concurrent.futures.as_completed(written):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@contextlib.contextmanager
def progress(split: shards.Split, todo: Sequence[int]) -> Iterator[None]:
    """A line on the terminal, where there is one, that counts the shards while they are written."""
    if not sys.stderr.isatty():
        yield
        return
    over = threading.Event()

    def count() -> None:
        while not over.wait(_REFRESH):
            done = f"{len(shards.reported(split) & set(todo)):,} of {len(todo):,} shards"
            print(f"\r{split.name}: {done}", end="", file=sys.stderr, flush=True)

    counter = threading.Thread(target=count)
    counter.start()
    try:
        yield
    finally:
        over.set()
        counter.join()
        print(file=sys.stderr)
