"""Loads pictures from one folder per class: an unpacked ImageNet or a user's files (Sec. 4.1)."""

import os

from perceiver.data import class_folders
from perceiver.data.dataset import Dataset, Features, Source, takes_recipe
from perceiver.data.images import pictures
from perceiver.data.images.recipe import ImageRecipe
from perceiver.data.tensorflow_cpu import tf


@takes_recipe(ImageRecipe)
def load(*, dir: str, val_fraction: float, split_seed: int, recipe: ImageRecipe) -> Dataset:
    """Finds the pictures; each is read when its example is computed.

    The labels follow the sorted names of the class folders.

    Args:
      dir: folder with train/<class>/* and val/<class>/*, or <class>/*; .jpg, .jpeg or .png.
      val_fraction: fraction of the pictures for validation, if `dir` has no split.
      split_seed: seed of that split.
      recipe: preprocessing and augmentation; its attributes are options of the loader.

    Returns:
      A data set of 'image', uint8 [S, S, C], and 'label', int32 []. If training mixes pictures,
      its batches have the additional features of `mixing.mixer`.

    Raises:
      InputError: an invalid option, or another layout of `dir`; see `class_folders.find`.
    """
    train, val = class_folders.find(dir, pictures.PICTURES, val_fraction, split_seed)

    def source(files: class_folders.Files) -> Source:
        paths = [path for class_paths in files.values() for path in class_paths]
        labels = [label for label, class_paths in enumerate(files.values()) for _ in class_paths]
        # tf.data captures large constants by reference, so there is one copy in memory.
        all_paths = tf.constant([os.fsencode(path) for path in paths])
        all_labels = tf.constant(labels, tf.int32)

        def example(index: tf.Tensor, seed: tf.Tensor | None) -> Features:
            contents = tf.io.read_file(tf.gather(all_paths, index))
            image = recipe.evaluation(contents) if seed is None else recipe.training(contents, seed)
            return {"image": image, "label": tf.gather(all_labels, index)}

        return Source(len(paths), example, paths.__getitem__, mix_pair=recipe.mix_pair())

    return Dataset(train=source(train), eval=source(val), class_names=tuple(train))
