"""The state of each process's data iterator, as an item of an Orbax checkpoint.

Every process of a run reads its own share of the data, so each writes a file of its own,
`process_<index>-of-<count>`. Orbax commits the step only once all processes have written.
"""

import asyncio
import dataclasses

import jax
import orbax.checkpoint as ocp
from etils import epath


class IteratorHandler(ocp.AsyncCheckpointHandler):
    """Writes and reads the bytes of this process."""

    async def async_save(
        self, directory: epath.Path, args: "IteratorSave"
    ) -> list[ocp.future.Future]:
        """Starts writing; the future ends when the file is written."""

        async def write() -> None:
            await asyncio.to_thread((directory / _file_name()).write_bytes, args.state)

        # The directory is made in the background: this kind of future waits for it.
        return [
            ocp.future.CommitFutureAwaitingContractedSignals(write(), name="iterator"),
        ]

    def save(self, directory: epath.Path, args: "IteratorSave") -> None:
        """Writes at once."""
        (directory / _file_name()).write_bytes(args.state)

    def restore(self, directory: epath.Path, args: "IteratorRestore") -> bytes:
        """Returns what this process wrote.

        Raises:
          FileNotFoundError: saved by another number of processes; the message has the number.
        """
        del args
        path = directory / _file_name()
        if not path.exists():
            names = sorted(other.name for other in directory.glob("process_*"))
            count = names[0].rpartition("-of-")[2] if names else "no"
            raise FileNotFoundError(
                f"the data iterator was saved by {count} processes and this run has "
                f"{jax.process_count()}: restart with as many processes."
            )
        return path.read_bytes()


@ocp.args.register_with_handler(IteratorHandler, for_save=True)
@dataclasses.dataclass
class IteratorSave(ocp.args.CheckpointArgs):
    """What to write: the iterator's state in this process."""

    state: bytes


@ocp.args.register_with_handler(IteratorHandler, for_restore=True)
@dataclasses.dataclass
class IteratorRestore(ocp.args.CheckpointArgs):
    """Nothing to say when reading."""


def _file_name() -> str:
    return f"process_{jax.process_index()}-of-{jax.process_count()}"
