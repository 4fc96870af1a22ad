"""ModelNet40 and ModelNet10 as point clouds (Sec. 4.3), from what people have of them.

Told apart by what is in the folder: a data set that `prepare` made, Stanford's HDF5 files, or
modelnet40_normal_resampled. Princeton's meshes are prepared first, which samples points from them
once and not at each start.
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

    Where points were sampled from a mesh, or the file has them in random order, the first that
    evaluation takes are as good as any. The axis that points up is 'y' in Stanford's files and in
    modelnet40_normal_resampled; in clouds sampled from Princeton's meshes as they are it is 'z'.

    Args:
      dir: folder, or .zip, of any of the forms; see `forms`.
      partial: whether fewer clouds than ModelNet's official lists have will do.
      recipe: its attributes are options as well.

    Returns:
      'points', float32 [M, 3] within [-1, 1], and 'label', int32 [].

    Raises:
      InputError: options that cannot be, missing or damaged files, other counts than the official
        ones, too few points, labels without a name, or points that are not finite; the file and
        the example are named.
    """
    folder = prepared.find(dir)
    if folder is not None:
        form = prepared.read(folder, num_points=recipe.num_points, partial=partial)
    else:
        form = layouts.find(dir, num_points=recipe.num_points, partial=partial)
    if form.kind == "meshes":
        raise InputError(
            f"{form.root!r} holds meshes: sample points from them once with `{layouts.PREPARE}`, "
            "and set dir to what it made"
        )
    train, test = (_source(form, split, recipe) for split in ("train", "test"))
    return Dataset(train=train, eval=test, class_names=form.class_names)


def _source(form: layouts.Form, split: str, recipe: CloudRecipe) -> Source:
    part = form.splits[split]
    # Filled one by one: a list of them and then an array would take twice the memory.
    points = np.empty((len(part.labels), form.num_points, 3), np.float32)
    for row, cloud in zip(points, part.clouds(1), strict=True):
        row[:] = cloud
    return clouds.source(
        points, part.labels, recipe, lambda index: f"{form.root}: {part.names[index]}"
    )
