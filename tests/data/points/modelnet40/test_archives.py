"""Folders and zip archives have one interface, and hostile archives are refused unwritten."""

import stat
import zipfile

import pytest

from perceiver.data.points.modelnet40 import archives
from perceiver.errors import InputError

FILES = {
    "README.txt": b"read me",
    "top/chair/train/-a b.off": b"one",
    "top/chair/train/'; rm.off": b"two",
    "top/chair/test/c.off": b"three",
}


@pytest.fixture(params=["folder", "zip"])
def archive(tmp_path, request):
    """The same files as a folder and as a zip archive, with the hidden files of macOS."""
    hidden = {".DS_Store": b"", "top/chair/.DS_Store": b"", "__MACOSX/._chair": b""}
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            packed.mkdir("top/empty")
            for name, data in (FILES | hidden).items():
                packed.writestr(name, data)
        return archives.ZipArchive(tmp_path / "all.zip")
    (tmp_path / "top" / "empty").mkdir(parents=True)
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / ".DS_Store").touch()
    return archives.FolderArchive(tmp_path)


def test_folders_and_zip_archives_read_the_same(archive):
    assert archive.list("") == (["top"], ["README.txt"])
    assert archive.list("top/chair") == (["test", "train"], [])
    assert archive.list("top/empty") == ([], [])
    assert archive.list("top/nowhere") == ([], [])
    inside = archive.subfolder("top/chair").subfolder("train")
    assert inside.list("") == ([], ["'; rm.off", "-a b.off"])
    assert inside.read("-a b.off") == b"one"
    assert archive.read("top/chair/test/c.off") == b"three"
    assert inside.path("-a b.off").endswith("/top/chair/train/-a b.off")
    with pytest.raises(InputError, match=r"nowhere.off: cannot be read"):
        inside.read("nowhere.off")


def hostile(path, name, data=b"x", mode=0o644 | stat.S_IFREG):
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chair/train/chair_0001.off", b"OFF")
        archive.writestr(member, data, zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.parametrize(
    ("name", "mode", "named"),
    [
        ("../evil.off", stat.S_IFREG, "leads outside"),
        ("chair/train/../../../evil.off", stat.S_IFREG, "leads outside"),
        ("/etc/evil.off", stat.S_IFREG, "leads outside"),
        ("..\\evil.off", stat.S_IFREG, "leads outside"),
        ("C:/evil.off", stat.S_IFREG, "leads outside"),
        ("chair/train/link.off", stat.S_IFLNK, "is a link"),
        ("chair/train/pipe.off", stat.S_IFIFO, "special file"),
    ],
)
def test_a_hostile_member_is_refused_by_name(tmp_path, monkeypatch, name, mode, named):
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    path = hostile(inner / "bad.zip", name, b"/etc/passwd", mode | 0o644)
    monkeypatch.chdir(inner)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as raised:
        archives.ZipArchive(path)
    message = str(raised.value)
    assert str(path) in message
    assert repr(name) in message
    assert named in message
    assert sorted(tmp_path.rglob("*")) == before


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chair/train/bomb.off", b"0" * ((1 << 29) + 1))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InputError, match=r"'chair/train/bomb.off' has 536,870,913 bytes"):
        archives.ZipArchive(path)


def test_a_bomb_with_a_false_size_is_not_unpacked(tmp_path):
    path = hostile(tmp_path / "liar.zip", "chair/train/liar.off", b"0" * 5_000_000)
    size = (5_000_000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(InputError, match=r"liar.off: cannot be read"):
        archives.ZipArchive(path).read("chair/train/liar.off")


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_MAX_MEMBERS", 1)
    with pytest.raises(InputError, match=r"2 members"):
        archives.ZipArchive(hostile(tmp_path / "many.zip", "chair/train/x.off"))


def test_an_encrypted_member_is_refused(tmp_path):
    path = hostile(tmp_path / "secret.zip", "chair/train/x.off")
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"'chair/train/x.off' is encrypted"):
        archives.ZipArchive(path)


def test_damaged_archives_are_named(tmp_path):
    path = hostile(tmp_path / "cut.zip", "chair/train/x.off", b"some text " * 50)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(InputError, match=r"cut.zip: cannot be read"):
        archives.ZipArchive(path)
    flipped = bytearray(whole)
    flipped[whole.index(b"x.off") + 8] ^= 0xFF
    path.write_bytes(flipped)
    with pytest.raises(InputError, match=r"cut.zip/chair/train/x.off: cannot be read"):
        archives.ZipArchive(path).read("chair/train/x.off")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_any_damage_is_an_input_error(tmp_path, method):
    """Covers every error that zipfile and the decompressors raise."""
    with zipfile.ZipFile(tmp_path / "whole.zip", "w", method) as archive:
        archive.writestr("chair/train/é.off", bytes(range(256)))
    whole = (tmp_path / "whole.zip").read_bytes()
    path, messages = tmp_path / "damaged.zip", []
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 0xFF
        path.write_bytes(data)
        try:
            archive = archives.ZipArchive(path)
            for name in archive.list("chair/train")[1]:
                archive.read(f"chair/train/{name}")
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > len(whole) / 2
    assert all(len(message.splitlines()) == 1 for message in messages)
