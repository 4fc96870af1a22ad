"""The official lists of AudioSet, lists with mistakes, and the names of clip files."""

import os

import pytest

from perceiver.data.clips.preparation import audioset_lists
from perceiver.data.clips.preparation.audioset_lists import Segment
from perceiver.errors import InputError


@pytest.fixture
def lists(audioset_metadata):
    return audioset_metadata


@pytest.mark.parametrize(("name", "count"), [("balanced_train", 22_160), ("eval", 20_371)])
def test_the_official_lists(lists, name, count):
    classes, names = audioset_lists.read_classes(str(lists / "class_labels_indices.csv"))
    assert len(names) == len(set(names)) == 527
    assert names[:2] == ["Speech", "Male speech, man speaking"]
    path = str(lists / f"{name}_segments.csv")
    segments = audioset_lists.read_segments(path, classes)
    # The second line of each file: num_segs=..., num_unique_labels=527, num_positive_labels=...
    with open(path) as file:
        second = file.readlines()[1].strip("# \n")
    stated = dict(part.split("=") for part in second.split(", "))
    assert len(segments) == count == int(stated["num_segs"])
    assert sum(len(s.labels) for s in segments) == int(stated["num_positive_labels"])
    assert len({label for s in segments for label in s.labels}) == 527
    assert audioset_lists.split_name(path) == name


def test_a_line_becomes_a_segment(lists):
    classes, names = audioset_lists.read_classes(str(lists / "class_labels_indices.csv"))
    segments = audioset_lists.read_segments(str(lists / "balanced_train_segments.csv"), classes)
    # --PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"
    first = segments[0]
    assert (first.video, first.start, first.end, first.id) == (
        *("--PJHxphWEs", 30.0, 40.0),
        "--PJHxphWEs_000030",
    )
    assert [names[label] for label in first.labels] == ["Speech", "Gush"]


LIST = "# a\n# b\n# c\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LIST + 'aaaaaaaaaaa, 0.000, 10.000, "/m/1"\nb, 0, 10, "/m/1,/m/7"\n', r":5: class '/m/7'"),
        (LIST + "aaaaaaaaaaa, 0.000, 10.000\n", r":4: .* is not a segment"),
        (LIST + 'aaaaaaaaaaa, zero, 10.000, "/m/1"\n', r":4: .* is not a segment"),
        (LIST + 'aaaaaaaaaaa, 10.000, 5.000, "/m/1"\n', r":4: no segment goes from 10.0 s to 5.0"),
        (LIST + 'a, 0, 10, "/m/1"\na, 0, 10, "/m/1"\n', r":5: 'a_000000' is .* line 4"),
        (LIST, "has no segments"),
        (LIST + 'a, 0, 10, "/m/1\n' + "b, 0, 10, /m/1\n" * 20_000, "field larger than"),
        (LIST + 'a, 0, 10, "/m/1' + "b" * 2_000 + '"\n', r":4: class '/m/1b.*'\.\.\. of 'a'"),
        (LIST + "a,0," + "b," * 20_000 + "\n", r":4: 'a,0,b,.*'\.\.\. is not a segment"),
    ],
)
def test_message_names_the_line_of_a_mistake_in_a_list(tmp_path, text, message):
    path = tmp_path / "some_segments.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        audioset_lists.read_segments(str(path), {"/m/1": 0})
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "not the list of classes"),
        ("", "not the list of classes"),
        ("index,mid,display_name\n0,/m/1,A\n2,/m/2,B\n", ":3: index '2' should be 1"),
        ("index,mid,display_name\n0,/m/1,A\n1,/m/2\n", ":3: display_name None"),
        ("index,mid,display_name\n0,/m/1,A\n1,/m/2,A\n", ":3: display_name 'A'"),
        ("index,mid,display_name\n0,/m/1,A\n1,/m/1,B\n", ":3: mid '/m/1'"),
        ('index,mid,display_name\n0,/m/1,"A\nB"\n', "display_name .* in a line"),
        ('index,mid,display_name\n0,/m/1,"' + "A\n" * 70_000, "not a list of classes"),
    ],
)
def test_message_names_a_mistake_in_the_classes(tmp_path, text, message):
    path = tmp_path / "classes.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        audioset_lists.read_classes(str(path))


def test_finds_the_classes_in_the_folder_of_a_list(tmp_path):
    path = tmp_path / "some_segments.csv"
    with pytest.raises(InputError, match=r"'.*/some_segments\.csv' does not exist"):
        audioset_lists.find_classes(str(path))
    path.touch()
    with pytest.raises(InputError, match=r"folder has no class_labels_indices\.csv: .*--classes"):
        audioset_lists.find_classes(str(path))
    (tmp_path / "class_labels_indices.csv").touch()
    assert audioset_lists.find_classes(str(path)) == str(tmp_path / "class_labels_indices.csv")


@pytest.mark.parametrize("read", [audioset_lists.read_classes, audioset_lists.scan])
def test_missing_file_or_folder_is_named(tmp_path, read):
    with pytest.raises(InputError, match=r"nothing.*does not exist"):
        read(str(tmp_path / "nothing"))


@pytest.mark.parametrize("name", ["segments.csv", "my list_segments.csv", "_segments.csv"])
def test_list_name_without_a_split_is_refused(name):
    with pytest.raises(InputError, match="--split"):
        audioset_lists.split_name(f"lists/{name}")


SEGMENT = Segment("-a_3b-Xyz_0", 30.0, 40.0, (0,))


@pytest.mark.parametrize(
    ("name", "trimmed"),
    [
        ("-a_3b-Xyz_0.mp4", False),
        ("Y-a_3b-Xyz_0.wav", False),
        ("-a_3b-Xyz_0_000030.webm", True),
        ("-a_3b-Xyz_0_30.MKV", True),
        ("-a_3b-Xyz_0_30.0.flac", True),
        ("-a_3b-Xyz_0_30.000.mp4", True),
        ("Y-a_3b-Xyz_0_30.000.wav", True),
        ("-a_3b-Xyz_0_30000.ogg", True),
        ("-a_3b-Xyz_0_30000_40000.mp4", True),
        ("-a_3b-Xyz_0_30_40.m4a", True),
        ("-a_3b-Xyz_0_20.mp4", None),  # another segment
        ("-a_3b-Xyz_0_3.mp4", None),
        ("a_3b-Xyz_0_30.mp4", None),
        ("-A_3b-Xyz_0.mp4", None),
        ("-a_3b-Xyz_0_30.txt", None),
        (".-a_3b-Xyz_0_30.mp4", None),
    ],
)
def test_names_of_files(tmp_path, name, trimmed):
    below = tmp_path / "part 1" / "x"
    below.mkdir(parents=True)
    (below / name).touch()
    found = audioset_lists.find(SEGMENT, audioset_lists.scan(str(tmp_path)))
    assert found == (None if trimmed is None else (f"part 1/x/{name}", trimmed))


def test_trimmed_file_is_preferred_then_the_first_path(tmp_path):
    names = ["z/-a_3b-Xyz_0_000030.mp4", "b/-a_3b-Xyz_0_000030.wav", "a/-a_3b-Xyz_0.mp4"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert audioset_lists.find(SEGMENT, audioset_lists.scan(str(tmp_path))) == (names[1], True)
    (tmp_path / names[1]).unlink()
    assert audioset_lists.find(SEGMENT, audioset_lists.scan(str(tmp_path))) == (names[0], True)


@pytest.mark.parametrize("start", ["", "_30"])
def test_video_is_preferred_to_its_separate_sound(tmp_path, start):
    for name in ("audio", "video"):
        (tmp_path / name).mkdir()
    for name in ("audio/{}.flac", "audio/{}.m4a", "video/{}.WEBM", "video/{}.wav"):
        (tmp_path / name.format(f"-a_3b-Xyz_0{start}")).touch()
    files = audioset_lists.scan(str(tmp_path))
    for video, expected in ((True, f"video/-a_3b-Xyz_0{start}.WEBM"),
                         (False, f"audio/-a_3b-Xyz_0{start}.flac")):  # fmt: skip
        found = audioset_lists.find(SEGMENT, files, prefer_video=video)
        assert found == (expected, bool(start))


def test_formats_of_the_start_have_no_priority(tmp_path):
    for name in ("b/-a_3b-Xyz_0_000030.mp4", "a/-a_3b-Xyz_0_30.000.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    found = audioset_lists.find(SEGMENT, audioset_lists.scan(str(tmp_path)))
    assert found == ("a/-a_3b-Xyz_0_30.000.mp4", True)


def test_links_to_folders_are_followed_once(tmp_path):
    disk, clips = tmp_path / "disk", tmp_path / "clips"
    disk.mkdir()
    clips.mkdir()
    (disk / "one.mp4").touch()
    (clips / "two.mp4").touch()
    (clips / "b").symlink_to(disk)
    (clips / "a").symlink_to(disk)
    (disk / "back").symlink_to(clips)
    assert audioset_lists.scan(str(clips)) == {"one": ["a/one.mp4"], "two": ["two.mp4"]}


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refusing(path):  # root, who may run the tests, can read everything
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InputError, match=r"cannot be read completely.*denied.*closed"):
        audioset_lists.scan(str(tmp_path))


def test_start_with_a_fraction_of_a_second():
    segment = Segment("CQKSstz9_hs", 202.7, 212.7, (0,))
    assert segment.id == "CQKSstz9_hs_0202.7"
    for stem in ("CQKSstz9_hs_202.7", "CQKSstz9_hs_202.700", "CQKSstz9_hs_202700"):
        assert audioset_lists.find(segment, {stem: ["x"]}) == ("x", True)
