"""The TFDS builder of ModelNet40 and ModelNet10, which reads every form of them.

What it writes is an ordinary TFDS data set: `tfds.builder_from_directory` opens it anywhere,
without this code. An example is a cloud as its form has it: 'points' float32 [P, 3], 'label', and
'name'. P is 10,000 for modelnet40_normal_resampled, 2,048 for the others; the axes are the form's.
"""

import os
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from perceiver.data.errors import reason
from perceiver.data.points.modelnet40 import downloads, layouts
from perceiver.data.points.modelnet40.classes import OFFICIAL
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

_CITATION = """\
@inproceedings{wu2015shapenets,
  title = {3D ShapeNets: A Deep Representation for Volumetric Shapes},
  author = {Wu, Zhirong and Song, Shuran and Khosla, Aditya and Yu, Fisher and Zhang, Linguang and
            Tang, Xiaoou and Xiao, Jianxiong},
  booktitle = {CVPR},
  year = {2015},
}"""

_DOWNLOAD = "download:"


class Modelnet(tfds.core.GeneratorBasedBuilder):
    """ModelNet40 (config 'modelnet40') or ModelNet10 ('modelnet10') as point clouds."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (
        tfds.core.BuilderConfig(name="modelnet40", description="40 classes, 12,311 shapes"),
        tfds.core.BuilderConfig(name="modelnet10", description="10 classes, 4,899 shapes"),
    )
    # TFDS looks there for checksums of downloads, and `downloads` has its own.
    code_path = None

    def __init__(self, *, form: layouts.Form, workers: int, **kwargs):
        """Takes the clouds of a form, and the data_dir of TFDS.

        Args:
          form: what was found.
          workers: processes that sample meshes.
          **kwargs: of a TFDS builder.
        """
        self._form, self._workers = form, workers
        super().__init__(config=f"modelnet{len(form.class_names)}", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        points = tfds.features.Tensor(shape=(self._form.num_points, 3), dtype=np.float32)
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Point clouds of ModelNet, from the form {self._form.kind!r}.",
            features=tfds.features.FeaturesDict(
                {
                    "points": points,
                    "label": tfds.features.ClassLabel(names=list(self._form.class_names)),
                    "name": tfds.features.Text(),
                }
            ),
            supervised_keys=("points", "label"),
            homepage="https://modelnet.cs.princeton.edu",
            citation=_CITATION,
            metadata=tfds.core.MetadataDict(form=self._form.kind),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        del dl_manager
        return {split: self._generate_examples(split) for split in self._form.splits}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict]]:
        part = self._form.splits[split]
        rows = zip(part.names, part.labels, part.clouds(self._workers), strict=True)
        for name, label, points in rows:
            yield name, {"points": points, "label": int(label), "name": name}


def prepare(
    source: str,
    out: str,
    *,
    classes: int | None = None,
    partial: bool = False,
    workers: int | None = None,
) -> str:
    """Makes a TFDS data set of any form of ModelNet.

    Args:
      source: folder or .zip of the form; an archive is read in place. Or 'download:' and a name of
        `downloads.ARCHIVES`, which is then fetched to `downloads/` below `out`.
      out: folder for data sets; this one is in `modelnet/` below it.
      classes: 40 or 10, where the source could be read as both.
      partial: whether fewer clouds than ModelNet's official lists have will do.
      workers: processes that sample meshes; as many as there are cores by default.

    Returns:
      A line that says what was found and where it is now.

    Raises:
      InputError: what is wrong with the source, or a data set that is there already.
    """
    if source.startswith(_DOWNLOAD):
        source = str(
            downloads.fetch(source.removeprefix(_DOWNLOAD), os.path.join(out, "downloads"))
        )
    form = layouts.find(source, classes=classes, partial=partial)
    official = OFFICIAL.get(len(form.class_names))
    if official is None or form.class_names != official.class_names:
        raise InputError(
            f"{form.root!r} has other classes than ModelNet40 and ModelNet10: such files are read "
            "as they are, without being prepared"
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    builder = Modelnet(form=form, workers=workers or cores or 1, data_dir=out)
    if builder.data_path.exists():
        raise InputError(f"{builder.data_path} is there already: remove it, or give another folder")
    quick = tfds.download.DownloadConfig(
        try_download_gcs=False, compute_stats=tfds.download.ComputeStatsMode.SKIP
    )
    try:
        builder.download_and_prepare(download_config=quick)
    # TFDS makes a RuntimeError of what TensorFlow says of a disk that is full.
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        raise InputError(f"{out!r} cannot be written ({reason(error)})") from error
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    return (
        f"{official.name}, {form.kind} of {form.root}: {counts['train']:,} training clouds of "
        f"{official.counts['train']:,} listed and {counts['test']:,} test clouds of "
        f"{official.counts['test']:,}, {form.num_points:,} points each, in {builder.data_path}"
    )
