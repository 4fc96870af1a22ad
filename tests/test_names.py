"""Tests the lookup of names and the error for unknown names."""

import pytest

from perceiver.names import look_up, unknown


def test_message_has_the_nearest_valid_name_or_all():
    assert unknown("lamp", ["lamb", "sgd"], what="x") == "unknown x 'lamp': did you mean 'lamb'?"
    assert unknown("zzz", ["lamb", "sgd"], what="x") == "unknown x 'zzz': valid are 'lamb', 'sgd'"


def test_look_up():
    assert look_up({"a": 1}, "a", what="x") == 1
    with pytest.raises(ValueError, match="unknown x 'b'"):
        look_up({"a": 1}, "b", what="x")
