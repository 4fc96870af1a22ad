"""Preparation of ImageNet by TFDS, from small archives with the real layout."""

import dataclasses
import io
import pathlib
import resource
import shutil
import tarfile

import numpy as np
import pytest
import tensorflow_datasets as tfds

from perceiver.data.images import imagenet, tfds_images
from perceiver.errors import InputError

TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"


def add(archive, name, contents):
    member = tarfile.TarInfo(name)
    member.size = len(contents)
    archive.addfile(member, io.BytesIO(contents))


def of_class(paths, wnid):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for number, path in enumerate(paths):
            add(archive, f"{wnid}_{number}.JPEG", path.read_bytes())
    return packed.getvalue()


@pytest.fixture
def archives(tmp_path, files):
    """A folder with archives of 3 training classes of 2 pictures and 5 validation pictures."""
    folder = tmp_path / "with spaces; and 'quotes'"
    folder.mkdir()
    pictures = sorted((files / "pictures").glob("*/*"), key=lambda p: p.stat().st_size)
    with tarfile.open(folder / TRAIN, "w") as archive:
        for number, wnid in enumerate(["n02102040", "n01440764", "n03888257"]):
            add(archive, f"{wnid}.tar", of_class(pictures[2 * number : 2 * number + 2], wnid))
    with tarfile.open(folder / VALIDATION, "w") as archive:
        for number in (2, 1, 5, 3, 4):  # in no order, as in the archive itself
            contents = pictures[number].read_bytes()
            add(archive, f"ILSVRC2012_val_{number:08}.JPEG", contents)
    return folder


@pytest.fixture
def sizes(archives):
    """The archives with their real sizes and ImageNet's numbers of pictures."""
    return [
        dataclasses.replace(archive, num_bytes=(archives / archive.file).stat().st_size)
        for archive in imagenet.ARCHIVES
    ]


@pytest.fixture
def expected(sizes):
    """The archives with their real sizes and numbers of pictures."""
    return [
        dataclasses.replace(sizes[0], num_examples=6),
        dataclasses.replace(sizes[1], num_examples=5),
    ]


def test_the_archives_are_those_that_tfds_knows():
    table = tfds.core.tfds_path("datasets/imagenet2012/checksums.tsv").read_text()
    known = {
        url.rsplit("/", 1)[1]: int(size) for url, size, _ in map(str.split, table.splitlines())
    }
    assert known == {archive.file: archive.num_bytes for archive in imagenet.ARCHIVES}
    assert [a.num_examples for a in imagenet.ARCHIVES] == [1_281_167, 50_000]


def test_prepared_and_read(archives, expected, tmp_path, folder_options, monkeypatch):
    out = tmp_path / "out"
    report = imagenet.prepare(str(archives), str(out), expected)
    assert report == f"{out}/imagenet2012/5.1.0: 6 train and 5 validation pictures"

    shutil.rmtree(archives)
    assert imagenet.prepare(str(archives), str(out), expected) == report  # needed no more

    options = {k: v for k, v in folder_options.items() if k not in ("val_fraction", "split_seed")}
    options |= {
        "tfds_name": "imagenet2012",
        "dir": str(out),
        "train_split": "train",
        "eval_split": "validation",
    }
    with pytest.raises(InputError, match="train has 6 pictures and should have 1,281,167"):
        tfds_images.load(**options)
    monkeypatch.setattr(imagenet, "ARCHIVES", expected)
    data = tfds_images.load(**options)
    # Labels follow the sorted wnids of all 1,000 classes.
    assert len(data.class_names) == 1000
    assert list(data.class_names) == sorted(data.class_names)
    (batch,) = data.train.eval_batches(batch_size=6)
    found = sorted(data.class_names[label] for label in batch["label"])
    assert found == ["n01440764"] * 2 + ["n02102040"] * 2 + ["n03888257"] * 2
    (batch,) = data.eval.eval_batches(batch_size=5)
    assert batch["image"].shape == (5, 16, 16, 3)
    # The first labels of ILSVRC2012_validation_ground_truth, as wnids.
    validation = ["n01751748", "n09193705", "n02105855", "n04263257", "n03125729"]
    assert sorted(data.class_names[label] for label in batch["label"]) == sorted(validation)
    assert np.unique(batch["image"].reshape(5, -1), axis=0).shape[0] == 5


def test_short_archives_are_refused_after_preparation(archives, sizes, tmp_path):
    for _ in range(2):  # and again, when the data set is there
        with pytest.raises(
            InputError, match=r"train has 6 pictures and should have 1,281,167"
        ) as e:
            imagenet.prepare(str(archives), str(tmp_path / "out"), sizes)
        assert "\n" not in str(e.value)
    whole = [dataclasses.replace(sizes[0], num_examples=6), sizes[1]]
    with pytest.raises(InputError, match="validation has 5 pictures and should have 50,000"):
        imagenet.prepare(str(archives), str(tmp_path / "out"), whole)


@pytest.mark.parametrize("missing", [TRAIN, VALIDATION])
def test_a_missing_archive_is_named_before_anything_starts(archives, sizes, tmp_path, missing):
    (archives / missing).unlink()
    with pytest.raises(InputError, match=rf"{missing} is missing .*image-net\.org/download-images"):
        imagenet.prepare(str(archives), str(tmp_path / "out"), sizes)
    with pytest.raises(InputError, match=f"{TRAIN} and {VALIDATION}"):
        imagenet.prepare(str(tmp_path / "absent"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_truncated_archive_is_named_before_anything_starts(archives, tmp_path):
    with pytest.raises(
        InputError, match=rf"{TRAIN} has [\d,]+ bytes and should have 147,897,477,120"
    ):
        imagenet.prepare(str(archives), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_disk_too_small_is_named_before_anything_starts(
    archives, expected, tmp_path, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"out has 0 GB free"):
        imagenet.prepare(str(archives), str(tmp_path / "out"), expected)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("zeros", "No examples were yielded"),
        ("inner", "ReadError"),
        ("text", "ReadError"),
    ],
)
def test_damaged_archives_leave_no_data_set(archives, expected, tmp_path, damage, message):
    path = archives / TRAIN
    data = bytearray(path.read_bytes())
    if damage == "zeros":
        data[:] = bytes(len(data))
    elif damage == "inner":
        data[512:1024] = b"x" * 512  # the header of the first class's own archive
    else:
        data[:] = b"not an archive ".ljust(len(data))
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as raised:
        imagenet.prepare(str(archives), str(tmp_path / "out"), expected)
    assert str(archives) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out" / "imagenet2012" / "5.1.0").exists()


def test_a_full_disk_is_an_error(archives, expected, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(InputError, match=r"in .*out failed .*too large") as raised:
            imagenet.prepare(str(archives), str(tmp_path / "out"), expected)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out" / "imagenet2012" / "5.1.0").exists()


def test_a_failure_without_a_message_is_named_by_its_type(
    archives, expected, tmp_path, monkeypatch
):
    def fail(self, **options):
        raise EOFError

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(InputError, match=r"failed \(EOFError\)"):
        imagenet.prepare(str(archives), str(tmp_path / "out"), expected)


def test_names_in_an_archive_write_nothing_outside(archives, expected, tmp_path):
    path = pathlib.Path(archives, TRAIN)
    contents = path.read_bytes()
    with tarfile.open(path, "w") as archive:
        add(archive, "../n01440764.tar", contents)
        link = tarfile.TarInfo("n02102040.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    before = sorted(tmp_path.rglob("*"))
    expected[0] = dataclasses.replace(expected[0], num_bytes=path.stat().st_size)
    with pytest.raises(InputError):
        imagenet.prepare(str(archives), str(tmp_path / "out"), expected)
    after = [p for p in tmp_path.rglob("*") if not p.is_relative_to(tmp_path / "out")]
    assert sorted(after) == before
