"""Examples of a run as parts of a web page: inputs, predictions and attention maps."""

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from PIL import Image

from experiments.figures.attention.pictures import summary
from experiments.figures.contact_sheets import INPUTS, Entry, Scales, contact_sheet, png
from experiments.figures.pixel_figure import GAP, LINE
from experiments.report.elements import joined, missing, note, picture, scrolling, tag
from experiments.report.results import Names
from experiments.run.examples import evaluation_example
from experiments.run.predictions import OneLabel, Predictions
from perceiver.data.dataset import Source
from perceiver.errors import InputError
from perceiver.library import Classifier

_BEST, _WORST = 6, 12
_MAPS = 3  # examples with attention maps
_SHOWN_CLASSES = 3
_WIDE = ("video", "spectrogram", "audio")  # modalities that need half the width of the page
_SIDE = 224  # pixels to which small pictures are enlarged
_TINY = 1e-7  # lower bound of probabilities in losses


class Chosen(NamedTuple):
    """The examples to show, as places in `Predictions`.

    Attributes:
      best: examples that are predicted right, the lowest loss first.
      worst: examples with the highest losses, those with scores that are not finite first.
    """

    best: list[int]
    worst: list[int]


def losses(predictions: Predictions) -> np.ndarray:
    """Returns the cross-entropy of each example in nats, float64 [E], NaN for scores of NaN.

    With several labels it is summed over the example's classes and the likeliest other classes.
    The remaining terms are small.
    """
    if isinstance(predictions, OneLabel):
        return -np.log(np.maximum(predictions.label_probability.astype(np.float64), _TINY))
    own = -np.log(np.maximum(predictions.label_probabilities.astype(np.float64), _TINY))
    others = -np.log(np.maximum(1 - predictions.probabilities.astype(np.float64), _TINY))
    found = np.empty(len(predictions.index))
    for e, (start, end) in enumerate(zip(predictions.starts, predictions.starts[1:], strict=False)):
        wrong = ~np.isin(predictions.classes[e], predictions.labels[start:end])
        found[e] = own[start:end].sum() + others[e][wrong].sum()
    return found


def choose(predictions: Predictions, best: int = _BEST, worst: int = _WORST) -> Chosen:
    """Returns the examples with the lowest and the highest losses."""
    loss = losses(predictions)
    order = np.argsort(loss, kind="stable")  # NaN last
    if isinstance(predictions, OneLabel):
        right = predictions.right
        wrong = ~right
    else:
        right = np.diff(predictions.starts) > 0  # examples with at least one label
        wrong = np.ones(len(loss), bool)
        best = min(best, -(-len(loss) // 2))  # leaves half of a few examples for the worst
    lowest = [int(e) for e in order if right[e]][:best]
    highest = [int(e) for e in order[::-1] if wrong[e] and e not in lowest][:worst]
    return Chosen(lowest, highest)


def draw_input(name: str, array: np.ndarray, scales: Scales) -> bytes:
    """Returns an input as the content of a PNG or JPEG file.

    Args:
      name: modality, one of `INPUTS`.
      array: array of one example, without the axis B.
      scales: units of the input.
    """
    if name == "image":
        side = max(1, _SIDE // array.shape[0])
        pixels = array.repeat(side, axis=0).repeat(side, axis=1)
        return _encoded(Image.fromarray(pixels.squeeze(-1) if array.shape[-1] == 1 else pixels))
    # The sheet's heading is cut off: it holds the limits of a spectrogram, which the page shows as
    # text.
    sheet = png(
        contact_sheet("." if name == "spectrogram" else "", [Entry("", {name: array})], scales)
    )
    drawing = Image.open(io.BytesIO(sheet)).convert("RGB")
    above = GAP + LINE if name == "spectrogram" else 0
    return _encoded(_trimmed(drawing.crop((0, above, *drawing.size))))


def gallery(
    source: Source,
    predictions: Predictions,
    places: Sequence[int],
    names: Names,
    scales: Scales,
) -> Markup:
    """Returns a grid of examples, each with its true and its predicted classes.

    Args:
      source: examples of the split.
      predictions: predictions for the split.
      places: examples to show, as places in `predictions`.
      names: names of the classes.
      scales: units of the inputs.
    """
    figures, wide = [], False
    for place in places:
        number = int(predictions.index[place])
        try:
            inputs = evaluation_example(source, number)
        except InputError as error:
            figures.append(tag("figure", missing(str(error))))
            continue
        shown = [name for name in INPUTS if name in inputs]
        limits = None
        if "spectrogram" in inputs:
            low, high = (f"{of(inputs['spectrogram']):.1f}" for of in (np.min, np.max))
            limits = tag("div", f"log-mel from {low} (dark) to {high} (bright)", class_="note")
        wide |= any(name in _WIDE for name in shown)
        pictures = [
            picture(
                draw_input(name, inputs[name], scales),
                alt=f"{name} of example {number}, {_true_classes(predictions, place, names)}",
            )
            for name in shown
        ]
        about = [
            tag("div", tag("strong", _true_classes(predictions, place, names))),
            tag("div", _caption(inputs, source.name(number)), class_="note"),
            limits,
            _likeliest(predictions, place, names),
        ]
        figures.append(tag("figure", *pictures, tag("figcaption", *about)))
    return tag("div", *figures, class_="examples wide" if wide else "examples")


def maps(classifier: Classifier, source: Source, numbers: Sequence[int], names: Names) -> Markup:
    """Returns attention maps of a few examples, of the first and the last cross-attend.

    Args:
      classifier: a Perceiver.
      source: examples of the split.
      numbers: numbers of examples in the split.
      names: names of the classes.
    """
    count = classifier.model["num_cross_attends"]
    parts = []
    for number in numbers[:_MAPS]:
        try:
            inputs = evaluation_example(source, number)
        except InputError as error:
            parts.append(missing(str(error)))
            continue
        arrays = {name: inputs[name] for name in classifier.inputs}
        figures = []
        for cross_attend in sorted({0, count - 1}):
            which = f"cross-attend {cross_attend + 1} of {count}"
            figures += [
                tag(
                    "figure",
                    tag("figcaption", f"{which.capitalize()}, {name}"),
                    scrolling(
                        picture(
                            _encoded(Image.open(io.BytesIO(data))),
                            alt=f"attention of {which} to the {name} of example {number}",
                        )
                    ),
                )
                for name, data in summary(classifier, arrays, cross_attend=cross_attend).items()
            ]
        if "label" in inputs:
            classes = names[int(inputs["label"])]
        else:
            classes = ", ".join(names[i] for i in np.flatnonzero(inputs["labels"]).tolist())
        parts.append(tag("h3", f"#{number}: {classes or 'no class'}"))
        parts.append(tag("div", *figures, class_="maps"))
    about = note(
        "Attention logits, before the softmax, as the paper draws them, of the latents that attend "
        "to the fewest inputs. Above each map are the number of the latent and about how many "
        "inputs it attends to, 1 / Σ weight²."
    )
    return joined([about, *parts])


def _true_classes(predictions: Predictions, place: int, names: Names) -> str:
    """Returns the classes of an example as text."""
    if isinstance(predictions, OneLabel):
        return names[int(predictions.label[place])]
    own = predictions.labels[predictions.starts[place] : predictions.starts[place + 1]]
    return ", ".join(names[i] for i in own) or "no class"


def _likeliest(predictions: Predictions, place: int, names: Names) -> Markup:
    """Returns a list of the likeliest classes and the remaining true ones with probabilities.

    True classes are marked by a sign as well as a colour.
    """
    if isinstance(predictions, OneLabel):
        label = int(predictions.label[place])
        own = {label: float(predictions.label_probability[place])}
        count = _SHOWN_CLASSES
    else:
        part = slice(predictions.starts[place], predictions.starts[place + 1])
        own = dict(
            zip(
                predictions.labels[part].tolist(),
                predictions.label_probabilities[part].tolist(),
                strict=True,
            )
        )
        count = _SHOWN_CLASSES + 2
    likeliest = zip(predictions.classes[place], predictions.probabilities[place], strict=True)
    rows = {int(c): float(p) for c, p in list(likeliest)[:count]} | own
    return tag(
        "ol",
        *(
            tag(
                "li",
                tag("span", f"{'✓ ' if number in own else ''}{names[number]}"),
                tag("span", f"{probability:.1%}"),
                class_="own" if number in own else None,
            )
            for number, probability in rows.items()
        ),
    )


def _caption(inputs: Mapping[str, Any], name: str) -> str:
    """Returns the number of an example, its window, and its file name if it has one."""
    number = inputs["index"]
    window = ", window {} of {}".format(*inputs["window"]) if "window" in inputs else ""
    if name == f"example {number}":
        return f"#{number}{window}"
    # The name is a path, or a path followed by an archive in brackets; folders are dropped.
    parts = [name] if os.path.exists(name) else name.split(" (")
    short = " (".join(part.rpartition("/")[2] for part in parts)
    return f"#{number}{window}: {short}"


def _encoded(drawing: Image.Image) -> bytes:
    """Returns a PNG file, or a JPEG file if that is less than half as large."""
    files = []
    for kind, options in (("PNG", {"optimize": True}), ("JPEG", {"quality": 90})):
        file = io.BytesIO()
        pixels = drawing if drawing.mode == "L" else drawing.convert("RGB")
        pixels.save(file, kind, **options)
        files.append(file.getvalue())
    lossless, smaller = files
    return smaller if 2 * len(smaller) < len(lossless) else lossless


def _trimmed(sheet: Image.Image) -> Image.Image:
    """Returns a sheet without its white margins."""
    ink = np.argwhere(np.asarray(sheet).min(axis=-1) < 255)
    if not len(ink):
        return sheet
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0) + 1
    return sheet.crop((int(left), int(top), int(right), int(bottom)))
