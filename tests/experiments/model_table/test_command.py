"""Compares the table of model sizes with the numbers in the paper."""

import json

from experiments.cli.config_files import all_configs
from tests.processes import run


def test_json_of_one_config():
    out, _ = run("model_table", "--config=configs/imagenet.py", "--format=json")
    table = json.loads(out)
    assert table["total"]["parameters"] == 44_912_254
    assert f"{table['total']['flops'] / 1e9:.1f}" == "707.2"
    parts = {part["part"]: part for part in table["parts"]}
    assert parts["cross-attends"]["parameters"] == 2 * 2_776_395
    assert parts["self-attends"]["parameters"] == 6 * 6_301_696


def test_overrides_change_the_sizes():
    """Table 7's network without sharing."""
    out, _ = run(
        "model_table",
        "--config=configs/imagenet.py",
        "--config.model.share_cross_attends=False",
        "--config.model.share_towers=false",
    )
    assert "326,241,856" in out
    assert "707.198" in out


def test_all_configs_are_listed():
    out, _ = run("model_table")
    for name, _ in all_configs():
        assert name in out
    everything = json.loads(run("model_table", "--format=json")[0])
    assert everything.keys() == dict(all_configs()).keys()


def test_tables_of_the_paper():
    """Every size in Tables 2, 5, 6 and 7 agrees except the error in Table 6."""
    out, _ = run("model_table", "--paper")
    lines = out.splitlines()
    (differing,) = [line for line in lines if "DIFFERS" in line]
    assert differing.split()[:4] == ["6", "1", "(at", "start)"]
    assert "42,135,859    41.1M  404.3B   404.3B" in differing
    assert "a slip" in differing
    assert sum(line.endswith("  agrees") for line in lines) == 3 + 7 + 2 + 5
    assert lines[-1] == "30 of 31 printed sizes agree to the last printed digit"


def test_tables_of_the_paper_as_json():
    rows = json.loads(run("model_table", "--paper", "--format=json")[0])
    by_row = {(row["table"], row["row"], row["metric"]): row for row in rows}
    unshared = by_row[7, "No weight sharing", "top-1"]
    assert unshared["config"] == "configs/imagenet.py:unshared"
    assert (unshared["value"], unshared["parameters"]) == (72.9, 326_241_856)
    assert unshared["agreement"]["parameters"] == {
        "ours": "326.2M",
        "printed": "326.2M",
        "agrees": True,
    }
    fields = {
        row["config"]: row["agreement"]["receptive field"]
        for row in rows
        if "receptive field" in row["agreement"]
    }
    assert fields == {
        f"configs/imagenet.py{variant}": {"ours": pixels, "printed": pixels, "agrees": True}
        for variant, pixels in (
            (":resnet_ff", "49"),
            (":vit_ff", "256"),
            (":transformer", "4,096"),
            ("", "50,176"),
            (":learned_positions", "50,176"),
        )
    }
    assert by_row[5, "12", "top-1"]["value"] is None
    assert by_row[4, "ViT-B-2 (FF)", "top-1"]["value"] == 78.9
    wrong = [row["row"] for row in rows for x in row["agreement"].values() if not x["agrees"]]
    assert wrong == ["1 (at start)"]


def test_incompatible_flags_are_errors():
    config = "--config=configs/digits.py"
    for arguments, message in (
        (["--paper", config], "--paper is about all configs; leave --config out"),
        (["--format=markdown", config], "--format=markdown is about all configs"),
        (["--format=config_reference", config], "--format=config_reference is about all configs"),
        (["--paper", "--format=markdown"], "--paper goes with --format=text or json"),
    ):
        _, err = run("model_table", *arguments, status=2)
        (line,) = err.splitlines()
        assert line.startswith(f"error: {message}")
