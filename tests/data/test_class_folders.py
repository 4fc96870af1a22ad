"""Finding pictures in class folders: layouts, the split, and errors."""

import itertools
import os
import shutil

import pytest

from perceiver.data import class_folders
from perceiver.data.images.pictures import PICTURES
from perceiver.errors import InputError


def names(pictures, root):
    return [os.path.relpath(path, root) for paths in pictures.values() for path in paths]


def test_an_existing_split_is_used(tmp_path, add_pictures):
    root = tmp_path
    for name in ("a", "b b", "-c", "d"):
        add_pictures(root / "train" / name, 120)
        add_pictures(root / "val" / name, 40)
    train, val = class_folders.find(str(root), PICTURES, 0.5, 0)
    assert list(train) == sorted(p.name for p in (root / "train").iterdir()) == list(val)
    assert {len(paths) for paths in train.values()} == {120}
    assert {len(paths) for paths in val.values()} == {40}


def test_one_picture_per_class_can_be_split(tmp_path, add_pictures):
    root = tmp_path
    for number in range(87):
        add_pictures(root / f"n{number:08}", 1)
    train, val = class_folders.find(str(root), PICTURES, 0.1, 0)
    held_out = names(val, root)
    assert len(held_out) == 9
    assert len(names(train, root)) == 78
    assert list(train) == list(val) == sorted(os.listdir(root))
    first = [name for name in val if val[name]]
    assert first != list(val)[:9]  # at random, not in alphabetical order
    assert names(class_folders.find(str(root), PICTURES, 0.1, 1)[1], root) != held_out


def test_the_split_is_stratified_and_exact(tmp_path, add_pictures):
    sizes = {"a": 40, "b": 21, "c": 7, "d": 3}
    for name, size in sizes.items():
        add_pictures(tmp_path / name, size)
    for fraction in (0.1, 0.25, 0.5, 0.9):
        train, val = class_folders.find(str(tmp_path), PICTURES, fraction, 3)
        assert len(names(val, tmp_path)) == round(71 * fraction)
        for name, size in sizes.items():
            assert abs(len(val[name]) - size * fraction) < 1
        everything = names(train, tmp_path) + names(val, tmp_path)
        assert sorted(everything) == sorted(
            f"{n}/{i:03}.png" for n in sizes for i in range(sizes[n])
        )


def test_the_split_does_not_depend_on_place_or_listing_order(tmp_path, add_pictures, monkeypatch):
    for name in ("a", "b b", "-c"):
        add_pictures(tmp_path / "one" / name, 6)
    shutil.copytree(tmp_path / "one", tmp_path / "elsewhere" / "two")
    _, expected = class_folders.find(str(tmp_path / "one"), PICTURES, 0.3, 7)

    scan = os.scandir

    class Reversed:
        def __init__(self, folder):
            self.entries = scan(folder)

        def __enter__(self):
            return iter(sorted(self.entries, key=lambda entry: entry.name, reverse=True))

        def __exit__(self, *_):
            self.entries.close()

    monkeypatch.setattr(class_folders.os, "scandir", Reversed)
    _, found = class_folders.find(str(tmp_path / "elsewhere" / "two"), PICTURES, 0.3, 7)
    assert names(found, tmp_path / "elsewhere" / "two") == names(expected, tmp_path / "one")
    assert list(found) == ["-c", "a", "b b"]


def test_any_names_are_valid_and_other_files_are_ignored(tmp_path, add_pictures):
    odd = ["-rf", 'it\'s "two; words"', "$HOME", "dé"]
    for name, suffix in zip(odd, itertools.cycle([".JPG", ".jpeg", ".PnG"])):
        add_pictures(tmp_path / name, 2, suffix)
    add_pictures(tmp_path / ".hidden", 2)
    add_pictures(tmp_path / "-rf" / "folder.jpg", 1)
    (tmp_path / "-rf" / "notes.txt").write_text("x")
    (tmp_path / "-rf" / "._000.jpg").write_text("resource fork")
    (tmp_path / "README.md").write_text("x")
    train, val = class_folders.find(str(tmp_path), PICTURES, 0.5, 0)
    assert list(train) == sorted(odd)
    assert len(names(train, tmp_path)) == len(names(val, tmp_path)) == 4


def test_a_class_may_be_called_train(tmp_path, add_pictures):
    for name in ("car", "plane", "train"):
        add_pictures(tmp_path / name, 2)
    assert list(class_folders.find(str(tmp_path), PICTURES, 0.5, 0)[0]) == ["car", "plane", "train"]


def refused(root, *parts, val_fraction=0.5):
    with pytest.raises(InputError) as raised:
        class_folders.find(str(root), PICTURES, val_fraction, 0)
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    for part in parts:
        assert str(part) in message


def test_a_folder_without_classes_is_an_error_with_the_layout(tmp_path, add_pictures):
    refused(tmp_path, tmp_path, PICTURES.layout)
    add_pictures(tmp_path, 2)
    refused(tmp_path, "no class folders", PICTURES.layout)


def test_an_empty_class_is_named(tmp_path, add_pictures):
    add_pictures(tmp_path / "full", 2)
    (tmp_path / "empty one").mkdir()
    refused(tmp_path, tmp_path / "empty one", "no pictures")


def test_half_a_split_is_refused(tmp_path, add_pictures):
    add_pictures(tmp_path / "train" / "a", 2)
    refused(tmp_path, "'train' but no 'val'", tmp_path / "train")


@pytest.mark.parametrize(("extra", "other"), [("train", "val"), ("val", "train")])
def test_classes_of_one_split_only_are_named(tmp_path, add_pictures, extra, other):
    for split in ("train", "val"):
        add_pictures(tmp_path / split / "both", 1)
    add_pictures(tmp_path / extra / "n01 alone", 1)
    refused(tmp_path, "n01 alone", f"only in {extra}")


@pytest.mark.parametrize(
    ("contents", "reason"),
    [(b"", "empty"), (b"<html>not found", "neither JPEG nor PNG"), (b"GIF89a", "GIF8")],
)
def test_a_wrong_file_is_named(tmp_path, add_pictures, contents, reason):
    add_pictures(tmp_path / "a", 3)
    bad = tmp_path / "a" / "bad one.jpg"
    bad.write_bytes(contents)
    refused(tmp_path, bad, reason)


def test_a_link_to_nothing_is_named(tmp_path, add_pictures):
    add_pictures(tmp_path / "a", 3)
    (tmp_path / "a" / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    refused(tmp_path, tmp_path / "a" / "link.jpg", "cannot be read")


@pytest.mark.parametrize("val_fraction", [0.0, 0.01, 0.99, 1.0, -1.0, float("nan"), float("inf")])
def test_a_split_with_an_empty_side_is_refused(tmp_path, add_pictures, val_fraction):
    add_pictures(tmp_path / "a", 5)
    refused(tmp_path, f"val_fraction {val_fraction}", val_fraction=val_fraction)
