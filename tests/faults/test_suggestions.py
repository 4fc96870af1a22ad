"""Mistyped command lines and the suggested corrections."""

import shutil
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from experiments import train
from experiments.cli import overrides
from experiments.cli.config_files import all_configs, flatten, load_config
from perceiver.errors import InputError
from tests.processes import ROOT

FLAGS = ("config", "workdir", "insist")
DIGITS = "--config=configs/digits.py"

# Arguments of experiments.train and a part of the error message.
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


@pytest.mark.parametrize("name", TRAIN)
def test_a_mistyped_argument_gets_a_suggestion(name, mains):
    arguments, message = TRAIN[name]
    assert message in mains.refusal("train", *arguments)


@pytest.mark.parametrize("arguments", [[], ["--config="], ["--config", "--workdir=runs/a"]])
def test_without_a_config_every_variant_is_listed_before_the_error(arguments, mains):
    status, out, err = mains("train", *arguments)
    *listed, empty, line = err.splitlines()
    assert (status, out, empty) == (2, "", "")
    example = "python -m experiments.train --config=configs/digits.py --workdir=runs/digits"
    assert line == f"error: --config is missing, as in: {example}"
    shown = dict(line.split(maxsplit=1) for line in listed[1:])
    assert [*shown] == [name for name, _ in all_configs()]
    assert shown["configs/imagenet.py:unshared"] == "Perceiver, nothing shared (Table 7)"


@pytest.mark.parametrize("main", ["evaluate", "show_data", "simple_models"])
def test_other_programs_list_the_variants_too(main, mains):
    _, _, err = mains(main)
    assert "\n  configs/modelnet40.py:small " in err
    assert f"as in: python -m experiments.{main} --config=" in err.splitlines()[-1]


def test_a_subcommand_after_the_flags_is_an_error(mains):
    line = mains.refusal("benchmark", DIGITS, "data")
    assert "a subcommand (forward, step, compile, memory, scaling, data) comes before" in line


def test_a_program_without_workdir_refuses_the_flag(mains):
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
def test_a_misspelled_config_gets_a_suggestion(spec, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError) as raised:
        load_config(spec)
    assert CONFIGS[spec] in str(raised.value)


def test_a_config_in_a_folder_with_spaces_is_loaded(tmp_path):
    folder = tmp_path / "my configs"
    folder.mkdir()
    shutil.copy(ROOT / "configs" / "digits.py", folder / "mine.py")
    assert (
        load_config(str(folder / "mine.py")).to_dict()
        == load_config(str(ROOT / "configs" / "digits.py")).to_dict()
    )


def test_a_tilde_after_an_equals_sign_is_expanded(mains):
    """A shell leaves this ~ unchanged."""
    home = Path("~").expanduser()
    folder = ["--config=configs/folder.py", "--config.data.dir=~/none/my pictures"]
    line = mains.refusal("show_data", *folder, "--out=sheet.png")
    assert f"data folder '{home}/none/my pictures' does not exist" in line
    assert f"--workdir={home}/none/run has no" in mains.refusal(
        "evaluate", DIGITS, "--workdir=~/none/run"
    )


def test_without_overrides_the_config_is_that_of_the_file():
    loaded = overrides.load(f"{ROOT}/configs/digits.py", [])
    assert dict(flatten(loaded)) == dict(flatten(load_config(f"{ROOT}/configs/digits.py")))
    assert loaded.is_locked
    assert overrides.load(None, []) is None


def test_overrides_keep_their_types_and_the_last_one_counts():
    changes = ["train.steps=3", "optimizer.learning_rate=1", "train.steps=4", "train.loss=sigmoid"]
    loaded = overrides.load(f"{ROOT}/configs/digits.py", [f"--config.{x}" for x in changes])
    assert (loaded.train.steps, loaded.train.loss) == (4, "sigmoid")
    assert type(loaded.optimizer.learning_rate) is float


def test_choices_among_the_overrides_are_passed_to_the_config(monkeypatch):
    """A choice may add another one: here only sgd has a schedule."""

    def load(spec, choices):
        optimizer = {"name": choices.get("optimizer.name", "lamb")}
        if optimizer["name"] == "sgd":
            optimizer |= {"schedule": "constant", "momentum": 0.9}
            if choices.get("optimizer.schedule") == "step":
                optimizer |= {"schedule": "step", "factor": 0.1}
        return ConfigDict({"optimizer": optimizer})

    monkeypatch.setattr(overrides, "load_config", load)
    monkeypatch.setattr(
        overrides,
        "choice_keys",
        lambda config: [f"optimizer.{key}" for key in config.optimizer if key != "momentum"],
    )
    changes = ["factor=0.5", "schedule=step", "momentum=0.8", "name=sgd"]
    loaded = overrides.load("mine.py", [f"--config.optimizer.{x}" for x in changes])
    assert loaded.optimizer.to_dict() == dict(name="sgd", schedule="step", momentum=0.8, factor=0.5)
    with pytest.raises(
        InputError,
        match=r"momentum has no effect here; it needs config\.optimizer\.name=sgd",
    ):
        overrides.load("mine.py", ["--config.optimizer.momentum=0.8"])


@pytest.mark.parametrize(
    ("arguments", "spec"),
    [
        (["--config=a.py:b"], "a.py:b"),
        (["-config", "a.py"], "a.py"),
        (["--config", "--workdir=w"], None),
        (["--config="], None),
        (["--workdir=w"], None),
    ],
)
def test_the_config_argument_is_found(arguments, spec):
    assert overrides.split(arguments)[1] == spec


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        (["--config.a.b=1", "--out=x"], ["--config.a.b=1"]),
        (["-config.a.b", "1", "--out=x"], ["--config.a.b=1"]),
        (["--config.a.b", "-1", "--out=x"], ["--config.a.b=-1"]),
        (["--config.a.b", "--out=x"], ["--config.a.b"]),
        (["--out=x", "--noconfig.a.b"], ["--noconfig.a.b"]),
    ],
)
def test_overrides_are_separated_from_other_arguments(arguments, changes):
    rest, _, found = overrides.split(arguments)
    assert (rest, found) == (["--out=x"], changes)


@pytest.mark.parametrize("flag", ["--insist", "-insist", "--insist=true", "--insist=1"])
@pytest.mark.parametrize("workdir", [["--workdir=w"], ["-workdir", "w"]])
def test_flags_have_the_syntax_of_absl(flag, workdir, monkeypatch):
    monkeypatch.chdir(ROOT)
    options = train.parser().parse([DIGITS, *workdir, flag])
    assert (options.insist, options.workdir) == (True, "w")
    options = train.parser().parse([DIGITS, *workdir, flag, "--noinsist"])
    assert options.insist is False
    assert options.config_spec == "configs/digits.py"
