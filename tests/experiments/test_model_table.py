"""The table of sizes, against the paper's figures."""

import json

from experiments.command_line import all_configs
from tests.experiments.processes import run


def test_json_of_one_config():
    out, _ = run("model_table", "--config=configs/imagenet.py", "--format=json")
    table = json.loads(out)
    assert table["total"]["parameters"] == 44_912_254
    assert f"{table['total']['flops'] / 1e9:.1f}" == "707.2"
    parts = {part["part"]: part for part in table["parts"]}
    assert parts["cross-attends"]["parameters"] == 2 * 2_776_395
    assert parts["self-attends"]["parameters"] == 6 * 6_301_696


def test_overrides_count():
    """Table 7's network without sharing."""
    out, _ = run(
        "model_table",
        "--config=configs/imagenet.py",
        "--config.model.share_cross_attends=False",
        "--config.model.share_towers=false",
    )
    assert "326,241,856" in out
    assert "707.198" in out


def test_all_configs():
    out, _ = run("model_table")
    for name, _ in all_configs():
        assert name in out
    everything = json.loads(run("model_table", "--format=json")[0])
    assert everything.keys() == dict(all_configs()).keys()
