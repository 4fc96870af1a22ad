"""Loads AudioSet: 10-second clips of video with several of 527 labels each (Sec. 4.2)."""

from perceiver.data.clips.prepared import open_prepared
from perceiver.data.clips.recipe import ClipRecipe
from perceiver.data.dataset import Dataset, Features, takes_recipe
from perceiver.data.tensorflow_cpu import tf

PREPARE_COMMAND = "python -m experiments.prepare_data audioset --csv=LIST --clips=DIR --out=DIR"


@takes_recipe(ClipRecipe)
def load(*, dir: str, train_split: str, eval_split: str, recipe: ClipRecipe) -> Dataset:
    """Opens AudioSet, or another data set of clips with several labels that was prepared like it.

    Args:
      dir: folder of the TFDS data set that `experiments.prepare_data` wrote, also on gs://.
      train_split: name of the training split, for example 'balanced_train', or several names
        joined by '+'.
      eval_split: name of the evaluation split, for example 'eval'.
      recipe: options of `ClipRecipe`, each of which is an option of this function.

    Returns:
      The splits, whose examples have the inputs in `modalities`, see `ClipRecipe.reader`, and
      'labels', uint8 [classes].

    Raises:
      InputError: an option is invalid, or the data set is not prepared or not complete.
    """
    prepared = open_prepared(dir, PREPARE_COMMAND)
    num_classes = len(prepared.class_names)

    def labels(indices: tf.Tensor) -> Features:
        # Scattering fails for an index that is no class.
        counts = tf.scatter_nd(indices[:, tf.newaxis], tf.ones_like(indices), [num_classes])
        return {"labels": tf.cast(counts > 0, tf.uint8)}

    return Dataset(
        train=prepared.source(train_split, recipe, labels),
        eval=prepared.source(eval_split, recipe, labels),
        class_names=prepared.class_names,
    )
