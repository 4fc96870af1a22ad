"""Folders of clips by class, how clips are dealt to shards, and what they are called."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from perceiver.data.clips.preparation import prepare, runners, shards
from perceiver.data.clips.preparation.audioset_lists import Segment
from perceiver.data.clips.preparation.decoder_process import Listed

pytestmark = pytest.mark.usefixtures("kept_decoders")


def test_a_folder_of_classes(files, tmp_path):
    folder = tmp_path / "my clips"
    for name, videos in (("dog", ("friday", "late")), ("drum", ("mono", "slow"))):
        (folder / name).mkdir(parents=True)
        for video in videos:
            shutil.copy(files / "videos" / f"{video}.mp4", folder / name)
    bad = os.fsdecode(b"-bad;\xff\nname.ogg")  # any bytes are a name
    (folder / "drum" / bad).write_bytes(b"no sound")
    told = []
    train, val = prepare.prepare_folder(
        str(folder),
        str(tmp_path / "out"),
        val_fraction=0.4,
        split_seed=0,
        seconds=4.0,
        run=runners.in_threads,
        tell=told.append,
    )
    assert told == [train, val]
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


def test_the_deal_is_even_and_depends_on_ids_alone(tmp_path):
    clips = [Listed(f"clip {n}", "x", (0,), 0.0, 10.0, True) for n in range(1000)]
    dealt = []
    for name, order in (("a", clips), ("b", clips[::-1])):
        split = shards.Split(str(tmp_path), name, 7, "", "any")
        shards.write_lists(split, order)
        lists = [json.loads(shards.read(split.note(shards.LISTS, n))) for n in range(7)]
        dealt.append([[fields[0] for fields in one] for one in lists])
    assert dealt[0] == dealt[1]
    assert {len(one) for one in dealt[0]} == {142, 143}
    assert sorted(id for one in dealt[0] for id in one) == sorted(clip.id for clip in clips)
    numbers = [int(id.split()[1]) for id in dealt[0][0]]
    assert abs(np.corrcoef(numbers, range(len(numbers)))[0, 1]) < 0.3


def test_the_time_in_an_id_is_that_of_the_lists():
    assert Segment("3qesirWAGt4", 20.0, 30.0, ()).id == "3qesirWAGt4_000020"
