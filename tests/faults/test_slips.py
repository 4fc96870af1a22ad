"""What is mistyped on a command line, and the line that answers it."""

import shutil
from pathlib import Path

import pytest

from experiments.cli import suggestions
from experiments.cli.config_files import all_configs, flatten, load_config
from perceiver.errors import InputError
from tests.processes import ROOT

FLAGS = ("config", "workdir", "insist")
DIGITS = "--config=configs/digits.py"

# Arguments of experiments.train, and what the line must say.
TRAIN = {
    "a config without its flag": (
        ["configs/digits.py"],
        "did you mean --config=configs/digits.py?",
    ),
    "a flag without dashes": (["config=configs/digits.py"], "did you mean --config=configs/dig"),
    "an override without dashes": (
        [DIGITS, "config.train.steps=3"],
        "did you mean --config.train.steps=3?",
    ),
    "a dash of a text processor": (
        [DIGITS, "–-config.train.steps=3"],
        "begins with a dash that is no '-'; write --config.train.steps=3",
    ),
    "a capital letter": (["--Config=configs/digits.py"], "--Config: did you mean --config?"),
    "an override without its config.": (
        [DIGITS, "--train.batch_size=8"],
        "unknown flag --train.batch_size: did you mean --config.train.batch_size?",
    ),
    "a key alone": (
        [DIGITS, "--batch-size=8"],
        "did you mean --config.eval.batch_size or --config.train.batch_size?",
    ),
    "a key without its section": (
        [DIGITS, "--config.batch_size=8"],
        "unknown config key 'batch_size': did you mean 'eval.batch_size' or 'train.batch_size'?",
    ),
    "spaces around the =": (
        [DIGITS, "--config.train.steps", "=", "3"],
        "'--config.train.steps' and '=' stand apart; write no spaces around the =",
    ),
    "a fraction": (
        [DIGITS, "--config.train.batch_size=4.5"],
        "config.train.batch_size takes a whole number, such as 64, not '4.5'",
    ),
    "a separator of thousands": (
        [DIGITS, "--config.train.batch_size=1,000"],
        "config.train.batch_size takes a whole number, such as 64, not '1,000'",
    ),
    "a word for a number": (
        [DIGITS, "--config.optimizer.learning_rate=fast"],
        "config.optimizer.learning_rate takes a number, such as 0.001, not 'fast'",
    ),
    "a word for yes or no": (
        [DIGITS, "--config.model.share_towers=maybe"],
        "config.model.share_towers takes true or false, not 'maybe'",
    ),
    "no value": (
        [DIGITS, "--config.train.steps"],
        "--config.train.steps has no value; write --config.train.steps=VALUE",
    ),
    "a workdir of no name": ([DIGITS, "--workdir="], "--workdir is missing, as in: python -m"),
}


@pytest.mark.parametrize("slip", TRAIN)
def test_a_slip_is_answered_with_what_was_meant(slip, mains):
    arguments, said = TRAIN[slip]
    assert said in mains.refusal("train", *arguments)


@pytest.mark.parametrize("given", [[], ["--config="], ["--config", "--workdir=runs/a"]])
def test_without_a_config_every_variant_is_listed_before_the_error(given, mains):
    status, out, err = mains("train", *given)
    *listed, empty, line = err.splitlines()
    assert (status, out, empty) == (2, "", "")
    example = "python -m experiments.train --config=configs/digits.py --workdir=runs/digits"
    assert line == f"error: --config is missing, as in: {example}"
    shown = dict(line.split(maxsplit=1) for line in listed[1:])
    assert [*shown] == [name for name, _ in all_configs()]
    assert shown["configs/imagenet.py:unshared"] == "Perceiver, nothing shared (Table 7)"


@pytest.mark.parametrize("main", ["evaluate", "show_data", "simple_models"])
def test_other_programs_list_them_too(main, mains):
    _, _, err = mains(main)
    assert "\n  configs/modelnet40.py:small " in err
    assert f"as in: python -m experiments.{main} --config=" in err.splitlines()[-1]


def test_a_subcommand_behind_the_flags(mains):
    line = mains.refusal("benchmark", DIGITS, "data")
    assert "a subcommand (forward, step, compile, memory, scaling, data) comes before" in line


def test_a_program_that_takes_no_workdir_says_so(mains):
    assert "unknown flag --workdir" in mains.refusal("model_table", DIGITS, "--workdir=runs/a")


CONFIGS = {
    "digits": "did you mean 'configs/digits.py'?",
    "configs/digits": "did you mean 'configs/digits.py'?",
    "digits.py": "did you mean 'configs/digits.py'?",
    "../configs/Digits.py": "did you mean 'configs/digits.py'?",
    "'configs/digits.py'": "did you mean 'configs/digits.py'?",
    "configs/digits.py/": "did you mean 'configs/digits.py'?",
    "ImageNet": "did you mean 'configs/imagenet.py'?",
    "configs": "valid are 'configs/audioset.py', 'configs/digits.py'",
    "README.md": "README.md is not a Python file",
    "configs/digits.py:foo": "configs/digits.py has no variants: give --config=configs/digits.py",
    "configs/folder.py:sounds": "did you mean 'sound'?",
}


@pytest.mark.parametrize("spec", CONFIGS)
def test_a_config_by_another_name(spec, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError) as raised:
        load_config(spec)
    assert CONFIGS[spec] in str(raised.value)


def test_a_config_in_a_folder_with_spaces_is_taken(tmp_path):
    folder = tmp_path / "my configs"
    folder.mkdir()
    shutil.copy(ROOT / "configs" / "digits.py", folder / "mine.py")
    assert (
        load_config(str(folder / "mine.py")).to_dict()
        == load_config(str(ROOT / "configs" / "digits.py")).to_dict()
    )


def test_the_home_of_the_user_is_found_behind_an_equals_sign(mains):
    """A shell leaves ~ as it is there."""
    home = Path("~").expanduser()
    folder = ["--config=configs/folder.py", "--config.data.dir=~/none/my pictures"]
    line = mains.refusal("show_data", *folder, "--out=sheet.png")
    assert f"data folder '{home}/none/my pictures' does not exist" in line
    assert f"--workdir={home}/none/run has no" in mains.refusal(
        "evaluate", DIGITS, "--workdir=~/none/run"
    )


def test_keys_are_those_of_the_config():
    known = suggestions.check_overrides(["train", f"--config={ROOT}/configs/digits.py"])
    assert known == dict(flatten(load_config(f"{ROOT}/configs/digits.py")))
    assert suggestions.check_overrides(["train"]) == {}


@pytest.mark.parametrize(
    ("argv", "spec"),
    [
        (["x", "--config=a.py:b"], "a.py:b"),
        (["x", "-config", "a.py"], "a.py"),
        (["x", "--config", "--workdir=w"], None),
        (["x", "--config="], None),
        (["x", "--workdir=w"], None),
    ],
)
def test_the_config_that_is_given(argv, spec):
    assert suggestions.config_spec(argv) == spec
