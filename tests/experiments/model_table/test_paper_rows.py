"""Compares the printed rows of the paper with the variants that reference them."""

import collections

import pytest

from experiments.cli.config_files import all_configs, all_variants
from experiments.model_table.paper_rows import (
    LITERATURE,
    PRINTED,
    agreements,
    in_words,
    of_variants,
)
from experiments.model_table.paper_rows import receptive_field as field_of
from perceiver.costs import Cost

CONFIGS = dict(all_configs())
ROWS = of_variants(PRINTED)

# The printed tables without the rows from the literature.
TABLES = {
    1: [73.5, 76.7, 57.0, 78.0],
    2: [73.5, 39.4, 76.7, 61.7, 57.0, 57.0, 78.0, 78.0, 70.9, 70.9],
    3: [38.3, 38.4, 25.8, 43.5, 43.2, 44.2, 39.7, 39.9],
    4: [66.3, 78.9, 73.4, 65.3, 59.6, 82.1, 85.7],
    5: [39.4, 45.3, None],
    6: [76.7, 76.7, 76.7, 76.5, 75.9, 76.5, 73.7, 78.0],
    7: [72.9, 87.7, 78.0, 79.5],
}

# Variants of the paper's data sets that are in no table.
NO_ROW = {
    "configs/imagenet.py": {
        "resnet",  # these two are from the literature
        "vit",
        "resnet_permuted",  # Table 2 has them with Fourier features only
        "vit_permuted",
        "ablation",  # Figure 5
        "folder",
        *(
            f"{network}permuted_each"
            for network in (
                "",
                "learned_positions_",
                "resnet_",
                "resnet_ff_",
                "vit_",
                "vit_ff_",
                "transformer_",
            )
        ),
    },
    "configs/audioset.py": {"sound_video_fine", "video_unrolled", "sound_amplitude"},
    "configs/modelnet40.py": {"small", "small_resnet", "small_vit", "small_transformer"},
}

# Variants and their printed results, checked by hand.
BY_HAND = [
    ("configs/imagenet.py", 1, "top-1", 78.0),
    ("configs/imagenet.py", 6, "top-1", 78.0),
    ("configs/imagenet.py", 7, "top-1 in training", 79.5),
    ("configs/imagenet.py:unshared", 7, "top-1", 72.9),
    ("configs/imagenet.py:unshared", 7, "top-1 in training", 87.7),
    ("configs/imagenet.py:resnet_ff", 2, "top-1", 73.5),
    ("configs/imagenet.py:resnet_ff_permuted", 2, "top-1", 39.4),
    ("configs/imagenet.py:vit_ff_permuted", 2, "top-1", 61.7),
    ("configs/imagenet.py:transformer_permuted", 2, "top-1", 57.0),
    ("configs/imagenet.py:permuted", 2, "top-1", 78.0),
    ("configs/imagenet.py:learned_positions_permuted", 2, "top-1", 70.9),
    ("configs/imagenet.py:cross_attends_alone_12", 5, "top-1", None),
    ("configs/imagenet.py:cross_attends_4_at_start", 6, "top-1", 75.9),
    ("configs/imagenet.py:cross_attends_8_at_start", 6, "top-1", 73.7),
    ("configs/audioset.py", 3, "mAP", 38.3),
    ("configs/audioset.py:mel", 3, "mAP", 38.4),
    ("configs/audioset.py:video", 3, "mAP", 25.8),
    ("configs/audioset.py:sound_video", 3, "mAP", 43.5),
    ("configs/audioset.py:mel_video", 3, "mAP", 43.2),
    ("configs/audioset.py:mel_video_tuned", 3, "mAP", 44.2),
    ("configs/audioset.py:sound_video_without_dropout", 3, "mAP", 39.7),
    ("configs/audioset.py:mel_video_without_dropout", 3, "mAP", 39.9),
    ("configs/modelnet40.py", 4, "top-1", 85.7),
    ("configs/modelnet40.py:vit_8", 4, "top-1", 65.3),
    ("configs/modelnet40.py:transformer", 4, "top-1", 82.1),
]


def test_every_trained_row_is_listed_in_the_printed_order():
    found = collections.defaultdict(list)
    for _, row in PRINTED:
        found[row.table].append(row.value)
    assert found == TABLES


def test_rows_of_variants_are_printed_rows():
    """A misspelt row in a table VARIANTS fails this test."""
    named = [(table, row) for _, record in all_variants() for table, row in record.rows.items()]
    assert len(named) == len(set(named))
    assert set(named) == {(row.table, row.row) for _, row in [*PRINTED, *LITERATURE]}


def test_every_variant_has_a_row_or_is_listed_without_one():
    for file, none in NO_ROW.items():
        names = {name for name in CONFIGS if name.split(":")[0] == file}
        without = {f"{file}:{variant}" for variant in none}
        assert without <= names
        assert {name for name in ROWS if name.split(":")[0] == file} == names - without
    assert {name.split(":")[0] for name in ROWS} == set(NO_ROW)


def test_rows_from_the_literature():
    assert {name: row.value for name, row in LITERATURE} == {
        "configs/imagenet.py:resnet": 77.6,
        "configs/imagenet.py:vit": 77.9,
    }
    assert not ROWS.keys() & dict(LITERATURE).keys()


@pytest.mark.parametrize(("name", "table", "metric", "value"), BY_HAND)
def test_rows_by_hand(name, table, metric, value):
    assert (table, metric, value) in [(row.table, row.metric, row.value) for row in ROWS[name]]


@pytest.mark.parametrize("name", [name for name in ROWS if "imagenet" in name])
def test_an_imagenet_config_agrees_with_its_rows(name):
    """Compares the name of a row with the values of the config."""
    model = CONFIGS[name].model
    for row in ROWS[name]:
        assert (model.permutation == "fixed") == row.row.endswith("permuted")
        if row.table == 5:
            assert (model.num_cross_attends, model.num_towers) == (int(row.row), 0)
            assert not model.share_cross_attends
        elif row.table == 6:
            number, how = row.row.split(" ", 1)
            assert model.num_cross_attends == int(number)
            assert model.cross_attends_at_start == (how == "(at start)")
            assert (model.num_towers, model.self_attends_per_tower) == (8, 6)
            assert model.share_cross_attends
            assert model.share_towers
        elif row.table == 7:
            shared = row.row == "W/ weight sharing"
            assert model.share_cross_attends == model.share_towers == shared
        else:
            kind = {"R": "resnet", "V": "vit", "T": "transformer", "P": "perceiver"}[row.row[0]]
            positions = "learned" if "Learned" in row.row else "fourier"
            assert (model.name, model.inputs.image.positions) == (kind, positions)


@pytest.mark.parametrize("name", [name for name in ROWS if "audioset" in name])
def test_an_audioset_config_agrees_with_its_row(name):
    model = CONFIGS[name].model
    (row,) = ROWS[name]
    wanted = {
        modality
        for word, modality in (("raw", "audio"), ("mel", "spectrogram"), ("video", "video"))
        if word in row.row.split(",")[0]
    }
    assert set(model.inputs) == wanted
    if "video" in model.inputs:
        dropped = len(wanted) == 2 and "without" not in row.row
        assert model.inputs.video.dropout == (0.3 if dropped else 0.0)
    if "spectrogram" in model.inputs:
        assert model.inputs.spectrogram.dropout == (0.1 if "tuned" in row.row else 0.0)
        assert bool(CONFIGS[name].data.spec_time_masks) != ("tuned" in row.row)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("configs/imagenet.py:resnet_ff", 49),
        ("configs/imagenet.py:vit_ff", 256),
        ("configs/imagenet.py:transformer", 4096),
        ("configs/imagenet.py", 50_176),
        ("configs/imagenet.py:learned_positions", 50_176),
        ("configs/modelnet40.py:vit_2", 4),
        ("configs/audioset.py:mel_video", 12_544 + 4800),  # Sec. 4.2
        ("configs/audioset.py:sound_video", 12_544 + 480),
        ("configs/audioset.py:video_unrolled", 784),  # 28 x 28 patches of one time step
    ],
)
def test_receptive_field(name, pixels):
    assert field_of(CONFIGS[name]) == pixels


def test_another_network_does_not_agree():
    """The network has 1% more parameters and FLOPs than that of ImageNet."""
    config = CONFIGS["configs/imagenet.py"]
    sizes = {}
    for row in ROWS["configs/imagenet.py"]:
        sizes |= agreements(row, config, Cost("total", 45_361_000, 714_300_000_000, 0))
    assert {size: x.holds for size, x in sizes.items()} == {
        "parameters": False,
        "FLOPs": False,
        "receptive field": True,
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "configs/imagenet.py",
            "78.0% (Tables 1, 2, 6 and 7), 79.5% in training (Table 7); 44.9M, 707.2B",
        ),
        ("configs/imagenet.py:vit_ff", "76.7% (Tables 1 and 2)"),
        ("configs/imagenet.py:cross_attends_alone_12", "out of memory (Table 5); 34.9M, 519.2B"),
        (
            "configs/imagenet.py:cross_attends_1_at_start",
            "76.7% (Table 6); 41.1M (a slip), 404.3B",
        ),
    ],
)
def test_in_words(name, words):
    assert in_words(ROWS[name]) == words


def test_no_rows_in_words():
    assert in_words([]) == ""
