"""Prepares ModelNet40 and ModelNet10 as a TFDS data set, from any layout.

The result is an ordinary TFDS data set: `tfds.builder_from_directory` opens it without this code.
An example is an unprocessed cloud: 'points' float32 [P, 3], 'label' and 'name'. P is 10,000 for
modelnet40_normal_resampled and 2,048 for the other layouts; the axes are those of the source.
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
    # No code path: TFDS would look for checksums of downloads there, and `downloads` has its own.
    code_path = None

    def __init__(self, *, layout: layouts.Layout, workers: int, **kwargs):
        """Creates a builder for the clouds of a layout.

        Args:
          layout: data set to prepare.
          workers: number of processes that sample meshes.
          **kwargs: arguments of a TFDS builder.
        """
        self._layout, self._workers = layout, workers
        super().__init__(config=f"modelnet{len(layout.class_names)}", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        points = tfds.features.Tensor(shape=(self._layout.num_points, 3), dtype=np.float32)
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Point clouds of ModelNet, from the layout {self._layout.kind!r}.",
            features=tfds.features.FeaturesDict(
                {
                    "points": points,
                    "label": tfds.features.ClassLabel(names=list(self._layout.class_names)),
                    "name": tfds.features.Text(),
                }
            ),
            supervised_keys=("points", "label"),
            homepage="https://modelnet.cs.princeton.edu",
            citation=_CITATION,
            metadata=tfds.core.MetadataDict(form=self._layout.kind),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        del dl_manager
        return {split: self._generate_examples(split) for split in self._layout.splits}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict]]:
        clouds = self._layout.splits[split]
        rows = zip(clouds.names, clouds.labels, clouds.clouds(self._workers), strict=True)
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
    """Prepares a TFDS data set from any layout of ModelNet.

    Args:
      source: path of a folder or .zip file, which is read without unpacking it; or 'download:' and
        a name in `downloads.ARCHIVES`, for an archive that is downloaded to `downloads/` in `out`.
      out: folder for data sets; this one is written to `modelnet/` in it.
      classes: 40 or 10, if the source can be read as both.
      partial: True to accept other numbers of clouds than the official ones.
      workers: number of processes that sample meshes; the number of cores by default.

    Returns:
      A line with the content and the place of the data set.

    Raises:
      InputError: the source is unusable, `out` cannot be written to, or it has this data set.
    """
    if source.startswith(_DOWNLOAD):
        source = str(
            downloads.fetch(source.removeprefix(_DOWNLOAD), os.path.join(out, "downloads"))
        )
    layout = layouts.find(source, classes=classes, partial=partial)
    official = OFFICIAL.get(len(layout.class_names))
    if official is None or layout.class_names != official.class_names:
        raise InputError(
            f"{layout.root!r} has other classes than ModelNet40 and ModelNet10: load these "
            "files directly, without preparing them"
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    builder = Modelnet(layout=layout, workers=workers or cores or 1, data_dir=out)
    if builder.data_path.exists():
        raise InputError(f"{builder.data_path} is there already: remove it, or give another folder")
    quick = tfds.download.DownloadConfig(
        try_download_gcs=False, compute_stats=tfds.download.ComputeStatsMode.SKIP
    )
    try:
        builder.download_and_prepare(download_config=quick)
    # TFDS raises a RuntimeError for a TensorFlow error about a full disk.
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        raise InputError(
            f"{out!r} cannot be written ({reason(error)}): give another folder"
        ) from error
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    return (
        f"{official.name}, {layout.kind} of {layout.root}: {counts['train']:,} training clouds of "
        f"{official.counts['train']:,} listed and {counts['test']:,} test clouds of "
        f"{official.counts['test']:,}, {layout.num_points:,} points each, in {builder.data_path}"
    )
