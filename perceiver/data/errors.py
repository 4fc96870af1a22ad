"""What libraries say of damaged data, in one line. It imports without TensorFlow."""

import re

_LONGEST = 400  # characters of what a library says


def reason(error: Exception) -> str:
    """What an error of a library says, short and in one line, or its kind if it says nothing."""
    return (" ".join(str(error).split()) or type(error).__name__)[:_LONGEST]


def plain(message: str) -> str:
    """What TensorFlow says of a failed operation, without the names that it gives operations."""
    message = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", message, flags=re.DOTALL)
    return message.strip().splitlines()[0].strip()
