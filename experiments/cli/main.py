"""Starts programs: parses the command line, runs the program, and reports errors."""

import argparse
import contextlib
import io
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence

import jax
from absl import app, flags, logging

from experiments.cli import distributed
from experiments.cli.distributed import ProcessesError
from experiments.cli.errors import EXIT_FAILED, exit_on_error, unused_gpu
from experiments.cli.parser import Parser
from perceiver.training.host_memory import keep_freed_memory

Main = Callable[[argparse.Namespace], int | None]


def run(main: Main, parser: Parser, *, many_processes: bool = False) -> None:
    """Runs a program that computes on devices, and ends Python with its exit status.

    Args:
      main: function of the parsed flags; returns the exit status, None for success.
      parser: parser of the program's flags.
      many_processes: True if the program can run in several processes, which connect first.
    """
    if many_processes:
        distributed.add_flags(parser)

    def parse(argv: Sequence[str]) -> argparse.Namespace:
        with exit_on_error():
            return parser.parse(argv[1:])

    def start(options: argparse.Namespace) -> int | None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        if note := unused_gpu():
            print(note, file=sys.stderr)
        keep_freed_memory()  # before JAX and TensorFlow start their threads
        with _end_together() if many_processes else contextlib.nullcontext(), exit_on_error():
            if many_processes:
                distributed.connect(options)
            return main(options)

    app.run(start, flags_parser=parse)


def call(main: Main, parser: Parser, arguments: Sequence[str]) -> int:
    """Runs a program in this process and returns its exit status.

    For programs without computation on devices, and for tests.

    Raises:
      SystemExit: after --help, with status 0; after an error, with the status of
        `exit_on_error`.
    """
    with exit_on_error():
        return main(parser.parse(arguments)) or 0


def prepare_stdout() -> None:
    """Prepares stdout for names of any kind and for readers that end early, such as `head`.

    Letters that the terminal lacks are escaped. The end of the reader ends the program silently.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _end_together() -> Iterator[None]:
    """Ends this process at once after an error, so that all processes of the run end."""
    try:
        yield
    except SystemExit as end:
        # An error that all processes raise together ends each of them in the usual way. If one of
        # them left at once, JAX would end the other processes before they print the error.
        together = isinstance(end.__context__, ProcessesError)
        if jax.distributed.is_initialized() and not together:
            if distributed.is_collective_failure(end):
                distributed.wait_for_lost_process()
            status = end.code
            assert isinstance(status, int)  # the programs end with numbers only
            distributed.leave(status)
        raise
    except Exception as error:
        if not jax.distributed.is_initialized():
            raise
        if distributed.is_collective_failure(error):
            print(f"error: {distributed.in_one_line(error)}", file=sys.stderr)
            distributed.wait_for_lost_process()
        else:
            traceback.print_exc()
        distributed.leave(EXIT_FAILED)
