"""Pictures in a folder of classes: ImageNet as it is unpacked, or a user's own (Sec. 4.1)."""

import os

from perceiver.data import class_folders
from perceiver.data.dataset import Dataset, Features, Source, takes_recipe
from perceiver.data.images import pictures
from perceiver.data.images.recipe import ImageRecipe
from perceiver.data.tensorflow_cpu import tf


@takes_recipe(ImageRecipe)
def load(*, dir: str, val_fraction: float, split_seed: int, recipe: ImageRecipe) -> Dataset:
    """Finds the pictures; they are read as they are asked for.

    Training and evaluation pictures are made as `ImageRecipe` says. The labels follow the sorted
    names of the class folders.

    Args:
      dir: folder with train/<class>/* and val/<class>/*, or <class>/*; .jpg, .jpeg or .png.
      val_fraction: share of the pictures held out where `dir` has no split; not used otherwise.
      split_seed: decides which are held out.
      recipe: its attributes are options as well.

    Returns:
      'image', uint8 [S, S, C], and 'label', int32 []; where training mixes pictures, it adds what
      `mixing.mixer` says.

    Raises:
      InputError: options that cannot be, or a folder that is not as above; see
        `class_folders.find`.
    """
    train, val = class_folders.find(dir, pictures.PICTURES, val_fraction, split_seed)

    def source(found: class_folders.Files) -> Source:
        paths = [path for of_class in found.values() for path in of_class]
        labels = [label for label, of_class in enumerate(found.values()) for _ in of_class]
        # tf.data functions take large constants by reference, so there is one copy in memory.
        all_paths = tf.constant([os.fsencode(path) for path in paths])
        all_labels = tf.constant(labels, tf.int32)

        def example(index: tf.Tensor, seed: tf.Tensor | None) -> Features:
            contents = tf.io.read_file(tf.gather(all_paths, index))
            image = recipe.evaluation(contents) if seed is None else recipe.training(contents, seed)
            return {"image": image, "label": tf.gather(all_labels, index)}

        return Source(len(paths), example, paths.__getitem__, mix_pair=recipe.mix_pair())

    return Dataset(train=source(train), eval=source(val), class_names=tuple(train))
