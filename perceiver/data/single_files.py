"""Reads single files of a user as evaluation shows them to a network.

This module imports without TensorFlow; `reader` imports it to build the function that reads.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from perceiver.data.class_folders import FileKind
from perceiver.errors import InputError

_THREADS = 4  # files read at once: TensorFlow and FFmpeg release the interpreter lock

Inputs = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Reading:
    """The content of a file as a network takes it.

    Attributes:
      inputs: array [W, ...] for each modality, for W windows of a clip, otherwise for W = 1;
        `dataset.Source` lists shapes and dtypes.
      longer: True if the file goes on after the part that was read.
    """

    inputs: Inputs
    longer: bool = False


def _nothing_to_release() -> None:
    """Does nothing."""


@dataclasses.dataclass(frozen=True)
class Reader:
    """A function that reads files for a network, and the files that it accepts.

    Attributes:
      kind: kind of the files. Pictures and clips may have any file name.
      windows: number W of windows per file.
      read: function path -> reading; raises an InputError that names an unusable file.
      release: function that ends the processes that `read` has started.
    """

    kind: FileKind
    windows: int
    read: Callable[[str], Reading]
    release: Callable[[], None] = _nothing_to_release


def reader(modalities: Collection[str], data: Mapping[str, Any]) -> Reader:
    """Returns the reader of files for a network.

    Args:
      modalities: inputs of the network: 'image', 'points', or any of 'audio', 'spectrogram' and
        'video', which are read from one file.
      data: options of the network's data set as `registry.load` takes them, with its 'name' if
        the network was trained on one; tuples may be lists. Options that do not affect the content
        of an example are ignored.

    Raises:
      InputError: no kind of file holds these modalities, or an option is invalid.
    """
    from perceiver.data import single_file_readers  # imports TensorFlow

    return single_file_readers.reader(modalities, data)


def read_each(reader: Reader, paths: Sequence[str]) -> Iterator[tuple[str, Reading | InputError]]:
    """Reads files in parallel, at most a few files ahead of the consumer.

    Args:
      reader: reader of the files.
      paths: paths of the files.

    Yields:
      (path, reading), or (path, error) for an unusable file, in the order of the paths.
    """

    def attempt(path: str) -> Reading | InputError:
        try:
            return reader.read(path)
        except InputError as error:
            return error

    pending: collections.deque = collections.deque()
    with contextlib.ExitStack() as stack:
        stack.callback(reader.release)
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(_THREADS))
        stack.callback(pool.shutdown, cancel_futures=True)
        for path in paths:
            pending.append((path, pool.submit(attempt, path)))
            if len(pending) > 2 * _THREADS:
                first, reading = pending.popleft()
                yield first, reading.result()
        while pending:
            first, reading = pending.popleft()
            yield first, reading.result()
