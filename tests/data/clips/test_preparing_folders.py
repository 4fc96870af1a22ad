"""Preparation of folders of classes, the assignment of clips to shards, and clip ids."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from perceiver.data.clips.preparation import shards
from perceiver.data.clips.preparation.audioset_lists import Segment
from perceiver.data.clips.preparation.decoder_process import ListedClip
from perceiver.data.clips.preparation.prepare import prepare_folder
from perceiver.data.clips.preparation.runners import run_in_threads

pytestmark = pytest.mark.usefixtures("open_decoders")


def test_a_folder_of_classes(files, tmp_path):
    folder = tmp_path / "my clips"
    for name, videos in (("dog", ("friday", "late")), ("drum", ("mono", "slow"))):
        (folder / name).mkdir(parents=True)
        for video in videos:
            shutil.copy(files / "videos" / f"{video}.mp4", folder / name)
    bad = os.fsdecode(b"-bad;\xff\nname.ogg")  # a name can contain any bytes
    (folder / "drum" / bad).write_bytes(b"no sound")
    reports = []
    train, val = prepare_folder(
        str(folder),
        str(tmp_path / "out"),
        val_fraction=0.4,
        split_seed=0,
        seconds=4.0,
        runner=run_in_threads,
        on_report=reports.append,
    )
    assert reports == [train, val]
    assert train.decoded + val.decoded == 4
    assert train.longer + val.longer == 4
    assert [r.failed for r in (train, val) if r.failed] == [{"not a whole sound or video file": 1}]
    builder = tfds.builder_from_directory(str(tmp_path / "out"))
    assert builder.info.features["labels"].feature.names == ["dog", "drum"]
    for split in ("train", "val"):
        for example in tfds.as_numpy(builder.as_dataset(split)):
            assert example["id"].decode().startswith(f"{['dog', 'drum'][example['labels'][0]]}/")
            assert len(example["frames"]) == 100
            assert len(example["sound"]) == 192_000


def test_assignment_to_shards_is_even_and_depends_on_ids_only(tmp_path):
    clips = [ListedClip(f"clip {n}", "x", (0,), 0.0, 10.0, True) for n in range(1000)]
    assigned = []
    for name, order in (("a", clips), ("b", clips[::-1])):
        split = shards.SplitShards(str(tmp_path), name, 7, "", "any")
        shards.write_lists(split, order)
        lists = [json.loads(shards.read_text(split.json_path(shards.LISTS, n))) for n in range(7)]
        assigned.append([[fields[0] for fields in one] for one in lists])
    assert assigned[0] == assigned[1]
    assert {len(one) for one in assigned[0]} == {142, 143}
    assert sorted(id for one in assigned[0] for id in one) == sorted(clip.id for clip in clips)
    numbers = [int(id.split()[1]) for id in assigned[0][0]]
    assert abs(np.corrcoef(numbers, range(len(numbers)))[0, 1]) < 0.3


def test_id_has_the_start_as_six_digits():
    assert Segment("3qesirWAGt4", 20.0, 30.0, ()).id == "3qesirWAGt4_000020"
