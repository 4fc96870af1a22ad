"""Parses and builds every point of the sweeps in launch/sweeps."""

import functools
import json
import shlex
import sys

import numpy as np
import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments.cli.config_files import flatten, load_config
from experiments.run.from_config import from_config
from tests.launch.sweeps import sweep
from tests.processes import ROOT

FILES = {path.stem: path for path in sorted((ROOT / "launch" / "sweeps").glob("*.json"))}
NAMED = [(file, name) for file in FILES for name in json.loads(FILES[file].read_text())["points"]]


@functools.cache
def commands(file) -> dict[str, list[str]]:
    """Returns the arguments of experiments.train by point, as printed by --dry-run."""
    out, _ = sweep(f"--sweep={FILES[file]}", "--workdir=/runs", "--dry-run")
    lines = [shlex.split(line) for line in out.splitlines()]
    assert all(line[:3] == [sys.executable, "-m", "experiments.train"] for line in lines)
    workdirs = [flag for line in lines for flag in line if flag.startswith("--workdir=/runs/")]
    assert len(workdirs) == len(lines)
    return {
        workdir.rpartition("/")[2]: line[3:] for workdir, line in zip(workdirs, lines, strict=True)
    }


@functools.cache
def configured(file, name) -> ConfigDict:
    """Returns the config of a point, parsed by the flags of ml_collections."""
    values = flags.FlagValues()
    argv = ["train", *commands(file)[name]]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    values(argv)
    return values.config


def changes(file, name) -> dict[str, object]:
    """Returns the values of a point that differ from the base point."""
    base = dict(flatten(configured(file, "base")))
    return {k: v for k, v in flatten(configured(file, name)) if v != base[k]}


def points(file) -> list[str]:
    return [name for other, name in NAMED if other == file]


def axis(file, key) -> list:
    """Returns the values of a key over the points that differ from the base in this key alone.

    The numbers of cross-attends and towers count as one key.
    """
    together = {"model.num_cross_attends", "model.num_towers"}
    alone = [changes(file, name) for name in points(file)]
    alone = [x for x in alone if x.keys() <= (together if key in together else {key})]
    return sorted(x.get(key, dict(flatten(configured(file, "base")))[key]) for x in alone)


def test_sweeps_of_the_paper_exist():
    assert {"figure5", "figure6", "digits"} <= FILES.keys()


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_point_builds_at_full_size(file, name):
    config = configured(file, name)
    spec = next(x for x in commands(file)[name] if x.startswith("--config="))
    known = dict(flatten(load_config(spec.removeprefix("--config="))))
    for key, value in flatten(config):
        if isinstance(value, tuple) and known[key]:  # flags accept tuples of any type
            assert [type(x) for x in value] == [type(x) for x in known[key]], key
    from_config(config)


@pytest.mark.parametrize("file", FILES)
def test_points_are_distinct_and_the_base_is_there_once(file):
    differences = [json.dumps(changes(file, name), sort_keys=True) for name in points(file)]
    assert differences.count("{}") == 1
    assert len(set(differences)) == len(differences)


def test_points_are_in_the_order_of_the_file():
    for file in FILES:
        assert list(commands(file)) == points(file)


def test_figure_5_is_the_papers_base_and_four_axes_around_it():
    """App. B: nothing shared, 8 heads, 4 self-attends, 2 cross-attends, 512 x 512 latents."""
    base = configured("figure5", "base")
    assert (base.train.batch_size, base.train.steps) == (64, 5_000_000)
    assert (base.model.share_towers, base.model.share_cross_attends) == (False, False)
    assert base.model.self_heads == 8
    # Parameters of a cross-attend and a self-attend with 512 channels, by hand, and of latents and
    # head. With 1,024 channels they have 2,776,395 and 6,301,696.
    parts = 2 * 932_683 + 2 * 4 * 1_577_984 + 512 * 512 + (512 * 1000 + 1000)
    assert from_config(base).total_cost.parameters == parts == 15_264_382
    for key, value in {
        "model.num_latents": 512,
        "model.latent_channels": 512,
        "model.self_attends_per_tower": 4,
        "model.num_cross_attends": 2,
    }.items():
        values = axis("figure5", key)
        assert value in values
        assert len(values) >= 4
        np.testing.assert_array_equal(np.log2(values) % 1, 0)
    assert max(axis("figure5", "model.num_latents")) == 1024
    for name in points("figure5"):  # a tower follows each cross-attend
        model = configured("figure5", name).model
        assert model.num_towers == model.num_cross_attends


def test_figure_6_is_the_papers_network_and_its_scales_and_features():
    """App. B: the full network at batch 256, scales 0.02, 0.1 and at least 1 (may be unstable), and
    bands of both spacings."""
    base = configured("figure6", "base")
    assert base.train.batch_size == 256
    assert from_config(base).total_cost.parameters == 44_912_254
    assert {0.02, 0.1, 1.0} <= set(axis("figure6", "model.latent_init_scale"))
    assert "1 or more may be unstable" in json.loads(FILES["figure6"].read_text())["about"]
    image = "model.inputs.image."
    features = {image + key for key in ("bands", "max_resolution", "spacing")}
    found = {"linear": [], "log": []}
    for name in points("figure6"):
        if changes("figure6", name).keys() <= features:
            values = configured("figure6", name).model.inputs.image
            found[values.spacing].append((values.bands, values.max_resolution))
    assert sorted(found["linear"]) == sorted(found["log"])  # the same for both spacings
    assert (64, (224.0, 224.0)) in found["log"]
    assert {bands for bands, _ in found["log"]} == {4, 8, 16, 32, 64}
    assert {sizes[0] for _, sizes in found["log"]} == {32.0, 64.0, 128.0, 224.0, 448.0}


def test_the_digits_are_compared_on_a_held_out_part():
    """The test split must not influence the choice of a point."""
    for name in points("digits"):
        assert configured("digits", name).data.held_out == 0.2
    assert 4 <= len(points("digits")) <= 6
