"""Mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019) of pairs of pictures.

The paper's recipe (Sec. 4.1) has neither; later recipes for Transformers have both. The two
pictures of a pair are mixed with each other by the same share: each keeps lambda of itself and
takes 1 - lambda from the other.
"""

from collections.abc import Callable

from perceiver.data.dataset import Features
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError


def mixer(
    mixup_alpha: float, cutmix_alpha: float
) -> Callable[[Features, tf.Tensor], Features] | None:
    """What `Source.mix_pair` is to be, for one or both kinds of mixing.

    The share lambda is drawn for each pair from Beta(alpha, alpha). Mixup makes
    lambda * own + (1 - lambda) * other of the pixels. CutMix swaps a rectangle with the aspect of
    the picture and 1 - lambda of its area, about a centre anywhere in the picture; what sticks out
    is cut off, and the share is that of the pixels kept. Where both alphas are above 0, each pair
    is mixed in one of the two ways, drawn by a fair coin.

    Args:
      mixup_alpha: 0 for no mixup; below 1 most pairs are left nearly as they are.
      cutmix_alpha: 0 for no CutMix; 1 draws all shares alike.

    Returns:
      None where both are 0, else (features, seed) -> features. The features have 'image', uint8
      [2, S, S, C], and 'label', int32 [2]; seed is int32 [2]. The pictures come back mixed, as
      uint8, with 'other_label', int32 [2], and 'label_weight', float32 [2], the share of 'label'.

    Raises:
      InputError: an alpha below 0.
    """
    for name, alpha in (("mixup_alpha", mixup_alpha), ("cutmix_alpha", cutmix_alpha)):
        if not 0 <= alpha < float("inf"):
            raise InputError(f"{name} is {alpha}: give a number above 0, or 0 for none")

    def mixed(features: Features, seed: tf.Tensor) -> Features:
        for_coin, for_mixing = tf.unstack(tf.random.split(seed, 2))
        images = features["image"]
        if mixup_alpha and cutmix_alpha:
            images, kept = tf.cond(
                tf.random.stateless_uniform([], for_coin) < 0.5,
                lambda: _mixup(images, mixup_alpha, for_mixing),
                lambda: _cutmix(images, cutmix_alpha, for_mixing),
            )
        elif mixup_alpha:
            images, kept = _mixup(images, mixup_alpha, for_mixing)
        else:
            images, kept = _cutmix(images, cutmix_alpha, for_mixing)
        return features | {
            "image": tf.ensure_shape(images, features["image"].shape),
            "other_label": tf.reverse(features["label"], [0]),
            "label_weight": tf.fill([2], kept),
        }

    return mixed if mixup_alpha or cutmix_alpha else None


def _mixup(images: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The pictures blended, and the share that each keeps."""
    share = _beta(alpha, seed)
    own = tf.cast(images, tf.float32)
    blended = share * own + (1 - share) * tf.reverse(own, [0])
    return tf.cast(tf.round(blended), tf.uint8), share


def _cutmix(images: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The pictures with a rectangle swapped, and the share of pixels that each keeps."""
    for_share, for_centre = tf.unstack(tf.random.split(seed, 2))
    height, width = images.shape[1:3]
    size = tf.constant([height, width], tf.float32)
    sides = size * tf.sqrt(1 - _beta(alpha, for_share))
    centre = size * tf.random.stateless_uniform([2], for_centre)
    begin = tf.clip_by_value(tf.round(centre - sides / 2), 0, size)
    end = tf.clip_by_value(tf.round(centre + sides / 2), 0, size)

    def within(axis: int) -> tf.Tensor:
        places = tf.range(size[axis])
        return (places >= begin[axis]) & (places < end[axis])

    swapped = within(0)[:, None] & within(1)[None, :]  # [S, S]
    images = tf.where(swapped[None, :, :, None], tf.reverse(images, [0]), images)
    return images, 1 - tf.reduce_mean(tf.cast(swapped, tf.float32))


def _beta(alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """A draw from Beta(alpha, alpha), float32 [].

    It is g / (g + h) of two Gamma(alpha) draws. For a small alpha both are often too small for any
    floating point number, so that their logarithms are drawn instead: Gamma(alpha) is
    Gamma(alpha + 1) times a uniform number to the power of 1 / alpha.
    """
    for_gamma, for_uniform = tf.unstack(tf.random.split(seed, 2))
    gamma = tf.random.stateless_gamma([2], for_gamma, alpha + 1.0)
    uniform = 1 - tf.random.stateless_uniform([2], for_uniform)  # (0, 1]: 0 has no logarithm
    logs = tf.math.log(gamma) + tf.math.log(uniform) / alpha
    return tf.sigmoid(logs[0] - logs[1])
