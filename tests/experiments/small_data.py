"""Makes small random data sets of every kind that the configs read."""

import h5py
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from experiments import prepare_data
from tests.data.clips import media
from tests.processes import exit_status


def pictures(folder):
    """Makes train/ and val/ with pictures of two classes."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 3)):
        for name in ("a class", "-another"):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = draw.integers(0, 256, (40, 50, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{i}.jpg")


def point_clouds(folder):
    """Makes point clouds of two classes in the layout of modelnet40_ply_hdf5_2048."""
    (folder / "shape_names.txt").write_text("bed\nsofa\n")
    for split in ("train", "test"):
        (folder / f"{split}_files.txt").write_text(f"data/somewhere/{split}0.h5\n")
        with h5py.File(folder / f"{split}0.h5", "w") as file:
            file["data"] = np.random.default_rng(1).normal(size=(9, 64, 3)).astype(np.float32)
            file["label"] = np.arange(9, dtype=np.uint8)[:, None] % 2


def clip(path, draw):
    """Writes a file with 0.4 s of frames and sound."""
    media.write(
        path,
        frames=draw.integers(0, 256, 10),
        rate=25,
        sound=("aac", 48_000, "fltp", media.sine(48_000, 0.4, draw.integers(200, 2000))),
    )


def sounds_and_videos(folder):
    """Makes train/ and val/ with clips of two classes."""
    draw = np.random.default_rng(2)
    for split, count in (("train", 5), ("val", 3)):
        for name in ("a class", "-another"):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                clip(folder / split / name / f"{i}.mp4", draw)


def meshes(folder):
    """Makes train/ and val/ with OFF meshes of boxes in two classes."""
    corners = [(x, y, z) for x in (0, 1) for y in (0, 2) for z in (0, 3)]
    sides = ["0 1 3 2", "4 5 7 6", "0 1 5 4", "2 3 7 6", "0 2 6 4", "1 3 7 5"]
    for split in ("train", "val"):
        for name in ("a class", "-another"):
            (folder / split / name).mkdir(parents=True)
            for i in range(4):
                lines = ["OFF", "8 6 0", *(f"{x} {y} {z + i}" for x, y, z in corners)]
                lines += [f"4 {side}" for side in sides]
                (folder / split / name / f"{i}.off").write_text("\n".join(lines))


def audioset(folder):
    """Prepares a data set like AudioSet, with several labels per clip."""
    (folder / "clips").mkdir()
    (folder / "classes.csv").write_text(
        'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/05zppz,"Male speech, man speaking"\n'
    )
    draw = np.random.default_rng(3)
    for split in ("balanced_train", "unbalanced_train", "eval"):
        lines = ["# made for a test", "# of segments", "# YTID, start, end, labels"]
        for i in range(4):
            video = f"-{split[:4]}_{i:05}"  # 11 characters, like real IDs
            clip(folder / "clips" / f"{video}_000010.mp4", draw)
            labels = "/m/09x0r,/m/05zppz" if i % 2 else "/m/09x0r"
            lines.append(f'{video}, 10.000, 20.000, "{labels}"')
        (folder / f"{split}_segments.csv").write_text("\n".join(lines) + "\n")
    arguments = [
        "audioset",
        *(f"--csv={path}" for path in sorted(folder.glob("*_segments.csv"))),
        f"--classes={folder}/classes.csv",
        f"--clips={folder}/clips",
        f"--out={folder}",
    ]
    assert exit_status(prepare_data, arguments) == 0


class Pictures(tfds.core.GeneratorBasedBuilder):
    """A TFDS data set with one label per picture."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=["a", "b"]),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(), "validation": self._generate_examples()}

    def _generate_examples(self):
        draw = np.random.default_rng(4)
        for i in range(6):
            yield i, {"image": draw.integers(0, 256, (40, 50, 3), np.uint8), "label": i % 2}


def tfds_pictures(folder):
    """Makes the TFDS data set `pictures`."""
    Pictures(data_dir=str(folder)).download_and_prepare()
