"""The values of swept keys, and the names of points."""

import json
import math
import random

import numpy as np
import pytest

from launch.sweep.points import names, read_sweep, short_keys
from launch.sweep.values import Draw, SweepError, read_values

CONFIG = "configs/digits.py"


def line(text, **options):
    return read_sweep(text, config=CONFIG, **options).points


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("8,16,32", ["8", "16", "32"]),
        ("1e-3, 0.010", ["1e-3", "0.010"]),  # unchanged
        ("lamb,sgd", ["lamb", "sgd"]),
        ("(8.0,8.0),(16.0,16.0)", ["(8.0,8.0)", "(16.0,16.0)"]),
        ("../a,..", ["../a", ".."]),
        ("1..4", ["1", "2", "3", "4"]),
        ("-1..1", ["-1", "0", "1"]),
        ("0..0.3..0.1", ["0", "0.1", "0.2", "0.3"]),  # in floats 0.1 + 0.2 is past 0.3
        ("1..6..2", ["1", "3", "5"]),
        ("log2(8..64)", ["8", "16", "32", "64"]),
        ("log2(3..13)", ["3", "6", "12"]),
        ("log10(1e-4..0.1)", ["0.0001", "0.001", "0.01", "0.1"]),
        ("log10(1..100)", ["1", "10", "100"]),
        ("0,log2(1..4),6..7", ["0", "1", "2", "4", "6", "7"]),
    ],
)
def test_lists_and_ranges(text, values):
    assert read_values(text, "a.b") == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8,,16", "a.b=8,,16: a value is missing"),
        ("", "a value is missing"),
        ("4..1", "goes upwards"),
        ("1..4..0", "goes upwards"),
        ("log2(0..8)", "from above 0"),
        ("log2(8,64)", "as in log2(8..64)"),
        ("1..1000000000", "1,000,000,000 values are more than 10,000"),
        ("logunform(1,2)", "unknown function 'logunform': did you mean 'loguniform'?"),
        ("uniform(1,2),3", "uniform(...) stands alone"),
        ("uniform(2,1)", "the first number is the smaller one"),
        ("loguniform(0,1)", "is above 0"),
        ("uniform(1)", "give two numbers, as in uniform(1,8)"),
        ("integers(1.5,3)", "give two whole numbers"),
        ("choice(a,a)", "each once"),
    ],
)
def test_a_user_error_is_one_line(text, message):
    with pytest.raises(SweepError) as error:
        read_values(text, "a.b")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


class TestDraws:
    def test_draws_have_the_named_distribution(self):
        """The largest gap of the distribution function of 2,000 uniform draws is below
        1.95 / sqrt(2000) for all but one seed in a thousand (Kolmogorov)."""

        def gap(draw, transform):
            values = sorted(transform(float(draw.value(0, n, "a.b"))) for n in range(2000))
            return np.abs(np.asarray(values) - (np.arange(2000) + 0.5) / 2000).max()

        limit = 1.95 / math.sqrt(2000)
        assert gap(Draw("uniform", ("2", "6")), lambda x: (x - 2) / 4) < limit
        assert gap(Draw("loguniform", ("1e-4", "1")), lambda x: math.log10(x) / 4 + 1) < limit
        assert gap(Draw("uniform", ("0", "1")), lambda x: x**2) > limit  # the test can fail

    def test_all_whole_numbers_and_words_are_drawn(self):
        drawn = {Draw("integers", ("2", "5")).value(0, n, "a.b") for n in range(100)}
        assert drawn == {"2", "3", "4", "5"}
        drawn = {Draw("choice", ("lamb", "sgd")).value(0, n, "a.b") for n in range(100)}
        assert drawn == {"lamb", "sgd"}

    def test_draws_are_a_function_of_seed_number_and_key(self):
        """The literal values are the same in every version of Python."""
        text = "optimizer.learning_rate=loguniform(0.001,0.1)"
        random.seed(1)
        few = line(text, draws=2)
        random.seed(2)
        many = line(text + ";model.num_latents=integers(2,9)", draws=20)
        rates = [point.overrides["optimizer.learning_rate"] for point in many]
        assert rates[:2] == [point.overrides["optimizer.learning_rate"] for point in few]
        assert rates[:2] == ["0.003954", "0.08775"]
        assert len(set(rates)) == 20
        other = line(text, draws=2, seed=1)
        assert other[0].overrides != few[0].overrides

    def test_a_point_drawn_twice_is_included_once(self):
        points = line("model.num_latents=integers(1,3)", draws=50)
        assert sorted(point.name for point in points) == [f"num_latents={n}" for n in (1, 2, 3)]
        assert [point.number for point in points] == [0, 1, 2]


class TestPoints:
    def test_a_grid_is_every_combination(self):
        points = line("model.num_latents=log2(8..16) ; optimizer.name=lamb,sgd;")
        assert [point.overrides for point in points] == [
            {"model.num_latents": latents, "optimizer.name": name}
            for latents in ("8", "16")
            for name in ("lamb", "sgd")
        ]

    def test_a_file_multiplies_points_grid_and_draws(self, tmp_path):
        file = tmp_path / "sweep.json"
        values = {
            "config": "configs/none.py",
            "points": {"base": {}, "wide": {"model.latent_channels": 128}},
            "grid": {"train.seed": [0, 1, 2], "data.bands": [[4, 4]]},
            "random": {"optimizer.learning_rate": "uniform(0,1)"},
            "draws": 2,
        }
        file.write_text(json.dumps(values))
        sweep = read_sweep(str(file), config=CONFIG)
        assert sweep.config == CONFIG
        assert len(sweep.points) == len({point.name for point in sweep.points}) == 2 * 3 * 2
        first = sweep.points[4]
        assert first.name.startswith("wide,seed=1,bands=_4_4_,learning_rate=0.")
        assert list(first.overrides) == [
            "model.latent_channels",
            "train.seed",
            "data.bands",
            "optimizer.learning_rate",
        ]
        assert len(read_sweep(str(file), config=CONFIG, draws=3).points) == 18

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("model.a=1;model.a=2", "model.a is there twice"),
            ("a.b=1;c", "'c' is no KEY=VALUES"),
            ("--config.a=1", "has the key '--config.a'"),
            ("config.a.b=1", "has the key 'config.a.b'"),
            ("a.b=1;c.d=2,2", "c.d has the value 2 twice"),
            (";=", "has the key ''"),
        ],
    )
    def test_a_user_error_in_a_line(self, text, message):
        with pytest.raises(SweepError) as error:
            line(text)
        assert message in str(error.value)


class TestNames:
    def test_keys_are_as_short_as_possible(self):
        keys = ["model.num_latents", "model.image.bands", "model.sound.bands", "a.b", "x.a.b"]
        assert short_keys(keys) == {
            "model.num_latents": "num_latents",
            "model.image.bands": "image.bands",
            "model.sound.bands": "sound.bands",
            "a.b": "a.b",
            "x.a.b": "x.a.b",
        }

    def test_safe_values_are_unchanged(self):
        overrides = {"optimizer.learning_rate": "0.004", "model.num_latents": 16, "a.b": "-1e-5"}
        expected = "wide,learning_rate=0.004,num_latents=16,b=-1e-5"
        assert names([("wide", overrides)]) == [expected]

    def test_names_are_safe_short_and_unique(self):
        """The values imitate other names or are hostile to a shell or a file system."""
        values = ["a/b", "a_b", "a b", "../x", "$(touch y)", "-", "ü", "a\nb", "L", "l", "", "a~b"]
        values += ["x" * 300, "x" * 301, "1,b=2", "1"]
        pairs = [{"k.a": a, "k.b": b} for a in values for b in [*values, "2,b=2", "2"]]
        found = names([("", pair) for pair in pairs])
        assert len({name.casefold() for name in found}) == len(pairs)
        for name in found:
            assert len(name) <= 100
            assert set(name) <= set(
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+=,-~"
            )
            assert name[0] not in "-.~"
