"""AudioSet: 10-second clips of video with several of 527 labels each (Sec. 4.2)."""

from perceiver.data.clips.prepared import open_prepared
from perceiver.data.clips.recipe import ClipRecipe
from perceiver.data.dataset import Dataset, Features, takes_recipe
from perceiver.data.tensorflow_cpu import tf

PREPARE = "python -m experiments.prepare_data audioset --csv=LIST --clips=DIR --out=DIR"


@takes_recipe(ClipRecipe)
def load(*, dir: str, train_split: str, eval_split: str, recipe: ClipRecipe) -> Dataset:
    """Opens AudioSet, or any data set of clips with several labels prepared in the same way.

    Args:
      dir: the TFDS data set that `experiments.prepare_data` wrote, perhaps on gs://.
      train_split: such as 'balanced_train', or several joined by '+'.
      eval_split: such as 'eval'.
      recipe: its attributes are options as well.

    Returns:
      The inputs that `modalities` names, see `ClipRecipe.reader`, and 'labels', uint8 [classes].

    Raises:
      InputError: options that cannot be, or data that are not prepared, or not whole.
    """
    prepared = open_prepared(dir, PREPARE)
    num_classes = len(prepared.class_names)

    def labels(indices: tf.Tensor) -> Features:
        # Scattering refuses an index that is no class.
        there = tf.scatter_nd(indices[:, tf.newaxis], tf.ones_like(indices), [num_classes])
        return {"labels": tf.cast(there > 0, tf.uint8)}

    return Dataset(
        train=prepared.source(train_split, recipe, labels),
        eval=prepared.source(eval_split, recipe, labels),
        class_names=prepared.class_names,
    )
