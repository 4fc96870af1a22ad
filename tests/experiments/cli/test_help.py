"""The --help of programs lists configs, the variants and keys of a config, and flags."""

import shutil

import pytest

from experiments.cli.config_files import config_files, variants
from tests.processes import ROOT, finish, start

PROGRAMS = {
    "train": [],
    "evaluate": [],
    "model_table": [],
    "show_data": [],
    "simple_models": [],
    "benchmark": ["data"],
}


def help_of(program, *arguments):
    out, err = finish(start(program, *arguments, "--help"), status=0)
    assert err == ""
    return out


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_a_config_configs_and_flags_are_listed(program):
    out = help_of(program, *PROGRAMS[program])
    assert f"python -m experiments.{program} {' '.join(PROGRAMS[program])}".strip() in out
    for file in config_files():
        assert f"  configs/{file.name} " in out
    assert "Handwritten digits, 8x8 pixels" in out
    assert "--help with --config=FILE lists the variants" in out
    assert "\n  --config: FILE[:variant]" in out
    uses_workdir = program in ("train", "evaluate", "simple_models")
    assert ("\n  --workdir: " in out) == uses_workdir


def test_with_a_config_its_variants_and_keys_are_listed():
    out = help_of("train", "--config=configs/imagenet.py")
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    listed = variants(ROOT / "configs" / "imagenet.py")
    assert {"", "vit_ff", "unshared"} <= listed.keys()
    for variant, about in listed.items():
        assert ["configs/imagenet.py" + (f":{variant}" if variant else ""), about] in lines
    assert "\n  --workdir: " in out
    for key in ("train.batch_size", "optimizer.learning_rate", "model.num_latents"):
        assert f"\n    {key}=" in out


def test_with_a_variant_all_variants_are_listed():
    out = help_of("model_table", "--config", "configs/modelnet40.py:small")
    assert "configs/modelnet40.py:vit_16 " in out
    assert "ViT-B-16 on the same grid (Table 4)" in out


@pytest.mark.parametrize("program", ["train", "benchmark"])
def test_an_unknown_config_is_an_error(program):
    process = start(program, *PROGRAMS[program], "--config=configs/imagenette.py", "--help")
    out, err = finish(process, status=2)
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: unknown config 'configs/imagenette.py'")
    assert "did you mean 'configs/imagenet.py'?" in line


def test_an_unknown_variant_is_an_error():
    process = start("train", "--config=configs/modelnet40.py:smal", "--help")
    _, err = finish(process, status=2)
    assert err == ("error: configs/modelnet40.py: unknown variant 'smal': did you mean 'small'?\n")


def test_percent_signs_are_printed_unchanged(tmp_path):
    """argparse would replace a % and the text after it."""
    config = tmp_path / "mine.py"
    shutil.copy(ROOT / "configs" / "digits.py", config)
    text = config.read_text()
    changed = text.replace("a small Perceiver", "50% smaller, 99% sure, 100%")
    assert changed != text
    config.write_text(changed)
    assert "50% smaller, 99% sure, 100%" in help_of("train", f"--config={config}")


def test_a_config_without_variants_is_an_error(tmp_path):
    config = tmp_path / "mine.py"
    text = (ROOT / "configs" / "digits.py").read_text()
    config.write_text(text.replace("VARIANTS", "NAMES"))
    _, err = finish(start("train", f"--config={config}", "--help"), status=2)
    (line,) = err.splitlines()
    assert f"{config} has no VARIANTS" in line
