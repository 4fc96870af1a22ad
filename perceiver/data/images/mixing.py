"""Mixes pairs of pictures by Mixup (Zhang et al., 2018) or CutMix (Yun et al., 2019).

The paper's recipe (Sec. 4.1) has neither; later recipes for Transformers have both. Both pictures
of a pair are mixed with the same weight lambda: each result has the weight lambda for its own
picture and 1 - lambda for the other one.
"""

from collections.abc import Callable

from perceiver.data.dataset import Features
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError


def mixer(
    mixup_alpha: float, cutmix_alpha: float
) -> Callable[[Features, tf.Tensor], Features] | None:
    """Returns a function for `Source.mix_pair` that applies Mixup, CutMix or either of them.

    The weight lambda of each pair is drawn from Beta(alpha, alpha). Mixup computes
    lambda * own + (1 - lambda) * other for each pixel. CutMix swaps a rectangle with the aspect
    ratio of the picture and 1 - lambda of its area, around a uniformly random centre. The rectangle
    is clipped to the picture, and lambda becomes the fraction of pixels that are not swapped. If
    both alphas are positive, each pair is mixed by one method, chosen with equal probability.

    Args:
      mixup_alpha: alpha of Mixup, 0 for no Mixup; below 1 most pairs are hardly mixed.
      cutmix_alpha: alpha of CutMix, 0 for no CutMix; 1 makes lambda uniform.

    Returns:
      None if both alphas are 0, otherwise a function (features, seed) -> features. It takes
      'image', uint8 [2, S, S, C], and 'label', int32 [2], with a seed int32 [2]. It returns the
      mixed pictures as uint8 and adds 'other_label', int32 [2], and 'label_weight', float32 [2],
      the weight of 'label'.

    Raises:
      InputError: an alpha is negative or not finite.
    """
    for name, alpha in (("mixup_alpha", mixup_alpha), ("cutmix_alpha", cutmix_alpha)):
        if not 0 <= alpha < float("inf"):
            raise InputError(f"{name} is {alpha}: give a number above 0, or 0 for none")

    def mix(features: Features, seed: tf.Tensor) -> Features:
        choice_seed, mixing_seed = tf.unstack(tf.random.split(seed, 2))
        images = features["image"]
        if mixup_alpha and cutmix_alpha:
            images, weight = tf.cond(
                tf.random.stateless_uniform([], choice_seed) < 0.5,
                lambda: _mixup(images, mixup_alpha, mixing_seed),
                lambda: _cutmix(images, cutmix_alpha, mixing_seed),
            )
        elif mixup_alpha:
            images, weight = _mixup(images, mixup_alpha, mixing_seed)
        else:
            images, weight = _cutmix(images, cutmix_alpha, mixing_seed)
        return features | {
            "image": tf.ensure_shape(images, features["image"].shape),
            "other_label": tf.reverse(features["label"], [0]),
            "label_weight": tf.fill([2], weight),
        }

    return mix if mixup_alpha or cutmix_alpha else None


def _mixup(images: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the blended pictures and the weight of each picture in its own result."""
    weight = _beta(alpha, seed)
    own = tf.cast(images, tf.float32)
    blended = weight * own + (1 - weight) * tf.reverse(own, [0])
    return tf.cast(tf.round(blended), tf.uint8), weight


def _cutmix(images: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the pictures with a rectangle swapped, and the fraction of pixels not swapped."""
    weight_seed, centre_seed = tf.unstack(tf.random.split(seed, 2))
    height, width = images.shape[1:3]
    size = tf.constant([height, width], tf.float32)
    sides = size * tf.sqrt(1 - _beta(alpha, weight_seed))
    centre = size * tf.random.stateless_uniform([2], centre_seed)
    begin = tf.clip_by_value(tf.round(centre - sides / 2), 0, size)
    end = tf.clip_by_value(tf.round(centre + sides / 2), 0, size)

    def within(axis: int) -> tf.Tensor:
        pixels = tf.range(size[axis])
        return (pixels >= begin[axis]) & (pixels < end[axis])

    swapped = within(0)[:, None] & within(1)[None, :]  # [S, S]
    images = tf.where(swapped[None, :, :, None], tf.reverse(images, [0]), images)
    return images, 1 - tf.reduce_mean(tf.cast(swapped, tf.float32))


def _beta(alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """Draws a number from Beta(alpha, alpha), float32 [].

    The number is g / (g + h) for g and h from Gamma(alpha). For a small alpha both often underflow,
    so their logarithms are drawn instead: Gamma(alpha) is distributed as Gamma(alpha + 1) times a
    uniform number to the power of 1 / alpha.
    """
    gamma_seed, uniform_seed = tf.unstack(tf.random.split(seed, 2))
    gamma = tf.random.stateless_gamma([2], gamma_seed, alpha + 1.0)
    uniform = 1 - tf.random.stateless_uniform([2], uniform_seed)  # in (0, 1]: 0 has no logarithm
    logs = tf.math.log(gamma) + tf.math.log(uniform) / alpha
    return tf.sigmoid(logs[0] - logs[1])
