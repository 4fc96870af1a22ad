"""Loads ModelNet40 and ModelNet10 as point clouds (Sec. 4.3).

The folder may hold a data set made by `builder.prepare`, Stanford's HDF5 files, or
modelnet40_normal_resampled. Princeton's meshes must be prepared first, so that points are sampled
once instead of at every start.
"""

import numpy as np

from perceiver.data.dataset import Dataset, Source, takes_recipe
from perceiver.data.points import clouds
from perceiver.data.points.clouds import CloudRecipe
from perceiver.data.points.modelnet40 import layouts, prepared
from perceiver.errors import InputError


@takes_recipe(CloudRecipe)
def load(*, dir: str, partial: bool = False, recipe: CloudRecipe) -> Dataset:
    """Reads all clouds into memory: 0.3 GB for ModelNet40 with 2,048 points, 1.5 GB with 10,000.

    Evaluation takes the first points of a cloud; the points of these data sets are in random order.
    The axis that points up is 'y' in Stanford's files and in modelnet40_normal_resampled, and 'z'
    in clouds sampled from Princeton's meshes.

    Args:
      dir: path of a folder or .zip file in one of the layouts; see `layouts`.
      partial: True to accept other numbers of clouds than the official ones.
      recipe: preprocessing and augmentation; its attributes are options of the loader.

    Returns:
      A data set of 'points', float32 [M, 3] within [-1, 1], and 'label', int32 [].

    Raises:
      InputError: an invalid option, missing or damaged files, other numbers of clouds than the
        official ones, too few points, labels out of range, or points that are not finite. The
        message names the file and the example.
    """
    folder = prepared.find(dir)
    if folder is not None:
        layout = prepared.read(folder, num_points=recipe.num_points, partial=partial)
    else:
        layout = layouts.find(dir, num_points=recipe.num_points, partial=partial)
    if layout.kind == "meshes":
        raise InputError(
            f"{layout.root!r} holds meshes: sample points from them once with `{layouts.PREPARE}`, "
            "and set dir to the result"
        )
    train, test = (_source(layout, name, recipe) for name in ("train", "test"))
    return Dataset(train=train, eval=test, class_names=layout.class_names)


def _source(layout: layouts.Layout, name: str, recipe: CloudRecipe) -> Source:
    split = layout.splits[name]
    # Filled cloud by cloud: stacking a list of clouds would take twice the memory.
    points = np.empty((len(split.labels), layout.num_points, 3), np.float32)
    for row, cloud in zip(points, split.clouds(1), strict=True):
        row[:] = cloud
    return clouds.source(
        points, split.labels, recipe, lambda index: f"{layout.root}: {split.names[index]}"
    )
