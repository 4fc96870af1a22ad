"""The place in a training stream as bytes that can be kept inside a checkpoint.

What a place shows is a function of the seed (`perceiver.data.stream.order`), so the number of
batches taken is all there is to save. The rest says which stream it belongs to.
"""

import json
import zlib

from perceiver.errors import InputError

_ADVICE = "restore a state that this configuration saved, or start afresh"


def pack(batches: int, stream: dict[str, int]) -> bytes:
    """The number of batches taken from the stream with these values, and a checksum."""
    contents = json.dumps({"batches": batches, **stream})
    return json.dumps({"crc32": zlib.crc32(contents.encode()), "contents": contents}).encode()


def unpack(state: bytes, stream: dict[str, int]) -> int:
    """The number of batches that `pack` was given.

    Args:
      state: what `pack` returned.
      stream: values that the saved ones must agree with.

    Raises:
      InputError: the bytes are damaged or belong to another stream.
    """
    try:
        outer = json.loads(state)
        contents = outer["contents"]
        if outer["crc32"] != zlib.crc32(contents.encode()):
            raise ValueError("wrong checksum")
        saved = json.loads(contents)
    except (ValueError, KeyError, TypeError) as error:
        what = f"iterator state of {len(state)} bytes"
        raise InputError(f"{what} is damaged ({error}): {_ADVICE}") from error
    different = [
        f"{key} {saved.get(key)!r} there, {value!r} here"
        for key, value in stream.items()
        if saved.get(key) != value
    ]
    if different:
        raise InputError(f"iterator state of another pipeline: {'; '.join(different)}: {_ADVICE}")
    return saved["batches"]
