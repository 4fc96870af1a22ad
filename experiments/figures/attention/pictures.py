"""Attention maps as PNG and GIF files, and the choice of the most selective latents.

The paper shows logits, because weights are "very sparse and hard to interpret" (Sec. 4.1). Of
several heads the mean is shown.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from experiments.figures.attention.colours import LOGITS, Palette
from experiments.figures.attention.layouts import InputGrid, input_grids, split_by_modality
from experiments.figures.attention.panels import LARGE, MOVING, SMALL, Map, draw_panels
from experiments.figures.contact_sheets import Scales, png, scales_of
from perceiver.library import Classifier

_MOST_SELECTIVE = 5  # latents
_MILLISECONDS = 100  # of a frame of an animation, slower than real time


def attention_weights(logits: np.ndarray) -> np.ndarray:
    """Returns the softmax over all inputs, averaged over heads.

    Args:
      logits: float32 [H, N, M] of one example.

    Returns:
      float32 [N, M]; each row sums to 1.
    """
    weights = np.zeros(logits.shape[1:], np.float32)
    for of_head in logits:
        powers = np.exp(of_head - of_head.max(axis=-1, keepdims=True))
        weights += powers / powers.sum(axis=-1, keepdims=True, dtype=np.float64)
    return weights / len(logits)


def effective_inputs(weights: np.ndarray) -> np.ndarray:
    """Returns the effective number of inputs of each latent, 1 / sum of squared weights.

    It is M if all weights are equal.

    Args:
      weights: [N, M]; each row sums to 1.
    """
    return 1 / np.square(weights, dtype=np.float64).sum(axis=-1)


def most_selective(weights: np.ndarray, count: int = _MOST_SELECTIVE) -> np.ndarray:
    """Returns the latents that attend to the fewest inputs of a modality, the fewest first.

    Args:
      weights: [N, M] for one modality; each row sums to at most 1.
      count: number of latents.
    """
    return np.argsort(-np.square(weights, dtype=np.float64).sum(axis=-1), kind="stable")[:count]


def draw_png(
    title: str,
    part: InputGrid,
    inputs: np.ndarray,
    maps: Sequence[tuple[str, np.ndarray]],
    palette: Palette,
    scales: Scales,
) -> bytes:
    """Returns a PNG file of an input and its maps.

    Args:
      title: title of the picture.
      part: grid of the modality.
      inputs: array of one example, without the axis B.
      maps: pairs of a caption and a map [M].
      palette: `LOGITS` or `WEIGHTS`.
      scales: units of the input.
    """
    return png(draw_panels(title, part, inputs, _maps(maps, palette), scales, LARGE))


def draw_gif(
    title: str,
    part: InputGrid,
    video: np.ndarray,
    maps: Sequence[tuple[str, np.ndarray]],
    palette: Palette,
    scales: Scales,
) -> bytes:
    """Returns a GIF file of a video and its maps, frame by frame; see `draw_png`.

    A map is shown during all frames of its patches.
    """
    whole = _maps(maps, palette)
    steps, *grid = part.grid
    by_step = [m.values.reshape(steps, -1) for m in whole]
    of_frame = InputGrid("image", tuple(grid), part.patch[1:])
    frames = []
    for number, frame in enumerate(video):
        step = number // part.patch[0]
        now = [
            Map(m.caption, values[step], palette, m.limits)
            for m, values in zip(whole, by_step, strict=True)
        ]
        if np.isnan([m.values for m in now]).all():
            continue  # outside the visible range of the cross-attend
        time = f"{number / scales.frame_rate:.2f} s: {title}"
        figure = draw_panels(time, of_frame, frame, now, scales, MOVING, name=part.modality)
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
    classifier: Classifier, inputs: Mapping[str, np.ndarray], *, cross_attend: int
) -> dict[str, bytes]:
    """Returns for each modality a small PNG file with maps of the most selective latents.

    Args:
      classifier: a Perceiver.
      inputs: arrays of one example by modality, without the axis B.
      cross_attend: number of the cross-attend, from 0.

    Raises:
      ValueError: the network is a baseline without such maps, there is no such cross-attend, or a
        modality cannot be drawn.
    """
    batch = {name: np.asarray(inputs[name])[None] for name in classifier.inputs}
    logits = classifier.attention_logits(batch, (cross_attend,))[cross_attend]
    name = cross_attend_name(classifier, cross_attend)
    title = f"Attention logits of {name}, of the latents that attend to the fewest inputs"
    selected = maps_of_most_selective(classifier, np.asarray(logits[0]), cross_attend=cross_attend)
    scales = scales_of(classifier.data)
    return {
        part.modality: png(
            draw_panels(
                title,
                part,
                batch[part.modality][0],
                _maps(selected[part.modality], LOGITS),
                scales,
                SMALL,
            )
        )
        for part in input_grids(classifier)
    }


def maps_of_most_selective(
    classifier: Classifier, logits: np.ndarray, *, cross_attend: int
) -> dict[str, list[tuple[str, np.ndarray]]]:
    """Returns captions and logits [M] of the most selective latents for each modality.

    Args:
      classifier: a Perceiver.
      logits: [H, N, M] of one example.
      cross_attend: number of the cross-attend, from 0.
    """
    weights = attention_weights(logits)
    inputs = effective_inputs(weights)
    weights = split_by_modality(classifier, weights, cross_attend=cross_attend)
    maps = split_by_modality(classifier, logits.mean(axis=0), cross_attend=cross_attend)
    return {
        modality: [
            (f"latent {n}: to {_count(inputs[n])}", maps[modality][n])
            for n in most_selective(np.nan_to_num(weights[modality]))
        ]
        for modality in maps
    }


def cross_attend_name(classifier: Classifier, cross_attend: int) -> str:
    """Returns the name of a cross-attend in pictures, which count from 1 as the paper does."""
    return f"cross-attend {cross_attend + 1} of {classifier.model['num_cross_attends']}"


def _maps(maps: Sequence[tuple[str, np.ndarray]], palette: Palette) -> list[Map]:
    return [Map(caption, values, palette, palette.limits(values)) for caption, values in maps]


def _count(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"
