"""Serialises the position in a training stream, for checkpoints.

The examples at a position are a function of the seed (`perceiver.data.stream.order`), so the state
is the number of batches taken, and the values that identify the stream.
"""

import json
import zlib

from perceiver.errors import InputError

_ADVICE = "restore a state that this configuration saved, or start again"


def pack(batches: int, stream: dict[str, int]) -> bytes:
    """Packs the number of batches taken, the values that identify the stream, and a checksum."""
    contents = json.dumps({"batches": batches, **stream})
    return json.dumps({"crc32": zlib.crc32(contents.encode()), "contents": contents}).encode()


def unpack(state: bytes, stream: dict[str, int]) -> int:
    """Returns the number of batches in a state.

    Args:
      state: result of `pack`.
      stream: values that identify the current stream.

    Raises:
      InputError: the state is damaged or belongs to another stream.
    """
    try:
        outer = json.loads(state)
        contents = outer["contents"]
        if outer["crc32"] != zlib.crc32(contents.encode()):
            raise ValueError("wrong checksum")
        saved = json.loads(contents)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"iterator state of {len(state)} bytes is damaged ({error}): {_ADVICE}"
        ) from error
    different = [
        f"{key} {saved.get(key)!r} there, {value!r} here"
        for key, value in stream.items()
        if saved.get(key) != value
    ]
    if different:
        raise InputError(f"iterator state of another pipeline: {'; '.join(different)}: {_ADVICE}")
    return saved["batches"]
