"""Attention maps as files: all latents in one picture, one large, moving ones, a few that tell.

The paper shows logits, as weights are "very sparse and hard to interpret" (Sec. 4.1); here are
both. A network with several heads is shown by their mean.
"""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from experiments.figures.attention.colours import LOGITS, Look
from experiments.figures.attention.layouts import Part, by_modality, parts_of
from experiments.figures.attention.panels import LARGE, MOVING, SMALL, Map, panels
from experiments.figures.contact_sheets import Scales, png, scales_of

if TYPE_CHECKING:
    from perceiver.library import Classifier

_TELLING = 5
_MILLISECONDS = 100  # of a frame in an animation: slower than life, for the eye


def weights_of(logits: np.ndarray) -> np.ndarray:
    """The softmax over all inputs, mean over heads.

    Args:
      logits: float32 [H, N, M], of one example.

    Returns:
      float32 [N, M], each row of which sums to 1.
    """
    weights = np.zeros(logits.shape[1:], np.float32)
    for of_head in logits:
        powers = np.exp(of_head - of_head.max(axis=-1, keepdims=True))
        weights += powers / powers.sum(axis=-1, keepdims=True, dtype=np.float64)
    return weights / len(logits)


def attended(weights: np.ndarray) -> np.ndarray:
    """To how many inputs each latent attends: 1 / sum of squares, M where all weigh the same.

    Args:
      weights: [N, M], of rows that sum to 1.
    """
    return 1 / np.square(weights, dtype=np.float64).sum(axis=-1)


def telling(weights: np.ndarray, count: int = _TELLING) -> np.ndarray:
    """The latents that attend to the fewest inputs of a modality, most of all first.

    Args:
      weights: [N, M] of the inputs of one modality, whose rows sum to 1 at most.
      count: how many.
    """
    return np.argsort(-np.square(weights, dtype=np.float64).sum(axis=-1), kind="stable")[:count]


def large(
    title: str,
    part: Part,
    inputs: np.ndarray,
    maps: Sequence[tuple[str, np.ndarray]],
    look: Look,
    scales: Scales,
) -> bytes:
    """A PNG of maps beside their input.

    Args:
      title: what is shown.
      part: the modality.
      inputs: its array of one example, without B.
      maps: caption and [M] of each.
      look: `LOGITS` or `WEIGHTS`.
      scales: what the numbers of the input mean.
    """
    return png(panels(title, part, inputs, _maps(maps, look), scales, LARGE))


def moving(
    title: str,
    part: Part,
    video: np.ndarray,
    maps: Sequence[tuple[str, np.ndarray]],
    look: Look,
    scales: Scales,
) -> bytes:
    """A GIF of a video beside its maps, frame by frame; see `large`.

    A map is shown as long as the frames of its patches last.
    """
    whole = _maps(maps, look)
    steps, *grid = part.grid
    by_step = [m.values.reshape(steps, -1) for m in whole]
    of_frame = Part("image", tuple(grid), part.patch[1:])
    frames = []
    for number, frame in enumerate(video):
        step = number // part.patch[0]
        now = [
            Map(m.caption, values[step], look, m.limits)
            for m, values in zip(whole, by_step, strict=True)
        ]
        if np.isnan([m.values for m in now]).all():
            continue  # another cross-attend sees it
        time = f"{number / scales.frame_rate:.2f} s: {title}"
        figure = panels(time, of_frame, frame, now, scales, MOVING, name=part.modality)
        drawn = FigureCanvasAgg(figure)
        drawn.draw()
        frames.append(Image.fromarray(np.asarray(drawn.buffer_rgba())).convert("RGB"))
    file = io.BytesIO()
    frames[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=_MILLISECONDS,
        loop=0,
    )
    return file.getvalue()


def summary(
    classifier: "Classifier", inputs: Mapping[str, np.ndarray], *, cross_attend: int
) -> dict[str, bytes]:
    """For each modality a small PNG: the input beside the maps of a few telling latents.

    Args:
      classifier: a Perceiver.
      inputs: arrays of one example by modality, without B.
      cross_attend: which one, counted from 0.

    Raises:
      ValueError: a baseline, which has no such maps; no such cross-attend; or a modality that
        can't be drawn.
    """
    batch = {name: np.asarray(inputs[name])[None] for name in classifier.inputs}
    logits = classifier.attention_logits(batch, (cross_attend,))[cross_attend]
    title = (
        f"Attention logits of {name_of(classifier, cross_attend)}, of the latents that attend to "
        "the fewest inputs"
    )
    few = few_maps(classifier, np.asarray(logits[0]), cross_attend=cross_attend)
    scales = scales_of(classifier.data)
    return {
        part.modality: png(
            panels(
                title,
                part,
                batch[part.modality][0],
                _maps(few[part.modality], LOGITS),
                scales,
                SMALL,
            )
        )
        for part in parts_of(classifier)
    }


def few_maps(
    classifier: "Classifier", logits: np.ndarray, *, cross_attend: int
) -> dict[str, list[tuple[str, np.ndarray]]]:
    """Of each modality the logits of a few telling latents: a caption and [M] of each.

    Args:
      classifier: a Perceiver.
      logits: [H, N, M], of one example.
      cross_attend: which one, counted from 0.
    """
    weights = weights_of(logits)
    inputs = attended(weights)
    weights = by_modality(classifier, weights, cross_attend=cross_attend)
    maps = by_modality(classifier, logits.mean(axis=0), cross_attend=cross_attend)
    return {
        modality: [
            (f"latent {n}: to {_count(inputs[n])}", maps[modality][n])
            for n in telling(np.nan_to_num(weights[modality]))
        ]
        for modality in maps
    }


def name_of(classifier: "Classifier", cross_attend: int) -> str:
    """A cross-attend, counted from 0, as it is called in pictures: from 1, as the paper counts."""
    return f"cross-attend {cross_attend + 1} of {classifier.model['num_cross_attends']}"


def _maps(maps, look):
    return [Map(caption, values, look, look.limits(values)) for caption, values in maps]


def _count(number):
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"
