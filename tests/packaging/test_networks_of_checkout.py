"""Reads the networks of a checkout whose configs cannot be imported."""

import pytest

from perceiver.errors import InputError
from perceiver.library import named


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "import ml_collections_that_is_missing",
            "No module named 'ml_collections_that_is_missing'",
        ),
        (None, "No module named 'configs'"),
    ],
)
def test_error_names_the_checkout_the_reason_and_the_command(tmp_path, monkeypatch, code, reason):
    if code:
        (tmp_path / "configs").mkdir()
        (tmp_path / "configs" / "networks.py").write_text(code)
    monkeypatch.setattr(named, "_CHECKOUT", tmp_path)
    named.read_networks.cache_clear()
    with pytest.raises(InputError) as raised:
        named.read_networks()
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    for part in (str(tmp_path), reason, "pip install -e '.[train]'"):
        assert part in message
