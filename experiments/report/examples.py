"""Single examples of a run as parts of a web page: what they look like, what was said, the maps."""

import io
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from experiments.figures.contact_sheets import INPUTS, Entry, Scales, contact_sheet, png
from experiments.figures.pixel_figure import GAP, LINE
from experiments.report.html import Html, joined, missing, note, picture, scrolling, tag
from experiments.report.results import Names
from experiments.run.predictions import OneLabel, Predictions

if TYPE_CHECKING:
    from perceiver.data.dataset import Source

_BEST, _WORST = 6, 12
_MAPS = 3  # examples whose attention is shown
_SHOWN_CLASSES = 3
_WIDE = ("video", "spectrogram", "audio")  # drawings that need half a page
_SIDE = 224  # of a picture that is made larger, about
_TINY = 1e-7  # nothing is told of probabilities below


class Chosen(NamedTuple):
    """Examples to be shown, as places in `Predictions`.

    Attributes:
      best: right, the lowest loss first.
      worst: the highest loss first; those whose scores are no numbers before all.
    """

    best: list[int]
    worst: list[int]


def losses(predictions: Predictions) -> np.ndarray:
    """The cross-entropy of each example, float64 [E], in nats; NaN where scores are no numbers.

    With several labels it is the sum over the example's own classes and the likeliest others: what
    is left out is small.
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
    """The examples that went best and worst."""
    loss = losses(predictions)
    order = np.argsort(loss, kind="stable")  # NaN last
    if isinstance(predictions, OneLabel):
        right = predictions.right
        wrong = ~right
    else:
        right = np.diff(predictions.starts) > 0  # it has a label to find
        wrong = np.ones(len(loss), bool)
        best = min(best, -(-len(loss) // 2))  # or few examples would all be the best
    lowest = [int(e) for e in order if right[e]][:best]
    highest = [int(e) for e in order[::-1] if wrong[e] and e not in lowest][:worst]
    return Chosen(lowest, highest)


def drawn(name: str, array: np.ndarray, scales: Scales) -> bytes:
    """An input as a picture, a PNG or JPEG file.

    Args:
      name: the modality, one of `INPUTS`.
      array: its array, without B.
      scales: what its numbers mean.
    """
    if name == "image":
        side = max(1, _SIDE // array.shape[0])
        pixels = array.repeat(side, axis=0).repeat(side, axis=1)
        return _file_of(Image.fromarray(pixels.squeeze(-1) if array.shape[-1] == 1 else pixels))
    # Of a spectrogram the sheet's heading has the limits, which the page tells in its own letters.
    sheet = png(
        contact_sheet("." if name == "spectrogram" else "", [Entry("", {name: array})], scales)
    )
    found = Image.open(io.BytesIO(sheet)).convert("RGB")
    above = GAP + LINE if name == "spectrogram" else 0
    return _file_of(_trimmed(found.crop((0, above, *found.size))))


def gallery(
    source: "Source",
    predictions: Predictions,
    places: Sequence[int],
    names: Names,
    scales: Scales,
) -> Html:
    """Examples beside each other, each with what was said of it.

    Args:
      source: the split.
      predictions: of it.
      places: of the examples in `predictions`.
      names: of the classes.
      scales: what the numbers of inputs mean.
    """
    from experiments.run.examples import one_of_evaluation
    from perceiver.errors import InputError

    figures, wide = [], False
    for place in places:
        number = int(predictions.index[place])
        try:
            inputs = one_of_evaluation(source, number)
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
                drawn(name, inputs[name], scales),
                alt=f"{name} of example {number}, {_truth(predictions, place, names)}",
            )
            for name in shown
        ]
        about = [
            tag("div", tag("strong", _truth(predictions, place, names))),
            tag("div", _which(inputs, source.name(number)), class_="note"),
            limits,
            _said(predictions, place, names),
        ]
        figures.append(tag("figure", *pictures, tag("figcaption", *about)))
    return tag("div", *figures, class_="examples wide" if wide else "examples")


def maps(classifier: Any, source: "Source", numbers: Sequence[int], names: Names) -> Html:
    """Attention maps of a few examples, of the first and of the last cross-attend.

    Args:
      classifier: a Perceiver, `perceiver.library.Classifier`.
      source: the split.
      numbers: of examples in it.
      names: of the classes.
    """
    from experiments.figures.attention.pictures import summary
    from experiments.run.examples import one_of_evaluation
    from perceiver.errors import InputError

    count = classifier.model["num_cross_attends"]
    parts = []
    for number in numbers[:_MAPS]:
        try:
            inputs = one_of_evaluation(source, number)
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
                            _file_of(Image.open(io.BytesIO(data))),
                            alt=f"attention of {which} to the {name} of example {number}",
                        )
                    ),
                )
                for name, data in summary(classifier, arrays, cross_attend=cross_attend).items()
            ]
        if "label" in inputs:
            classes = names[int(inputs["label"])]
        else:
            classes = ", ".join(names[i] for i in np.flatnonzero(inputs["labels"]))
        parts.append(tag("h3", f"#{number}: {classes or 'no class'}"))
        parts.append(tag("div", *figures, class_="maps"))
    about = note(
        "Where latents look: attention logits, before the softmax, as the paper draws them. Shown "
        "are those that attend to the fewest inputs; above each map is the latent's number and to "
        "about how many inputs it attends, 1 / Σ weight²."
    )
    return joined([about, *parts])


def _truth(predictions: Predictions, place: int, names: Names) -> str:
    """The classes that an example has."""
    if isinstance(predictions, OneLabel):
        return names[int(predictions.label[place])]
    own = predictions.labels[predictions.starts[place] : predictions.starts[place + 1]]
    return ", ".join(names[i] for i in own) or "no class"


def _said(predictions: Predictions, place: int, names: Names) -> Html:
    """The likeliest classes, those that are true marked; and the true ones that are not among them.

    What is marked by its colour has a sign too.
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


def _which(inputs: Mapping[str, Any], name: str) -> str:
    """The number of an example, its window, and the end of its path if it has one."""
    number = inputs["index"]
    window = ", window {} of {}".format(*inputs["window"]) if "window" in inputs else ""
    if name == f"example {number}":
        return f"#{number}{window}"
    # A path, or one and in brackets the archive that the file is in: without their folders.
    parts = [name] if os.path.exists(name) else name.split(" (")
    short = " (".join(part.rpartition("/")[2] for part in parts)
    return f"#{number}{window}: {short}"


def _file_of(drawing: Image.Image) -> bytes:
    """As PNG, or as JPEG where that is less than half as large, as for photographs."""
    files = []
    for kind, options in (("PNG", {"optimize": True}), ("JPEG", {"quality": 90})):
        file = io.BytesIO()
        pixels = drawing if drawing.mode == "L" else drawing.convert("RGB")
        pixels.save(file, kind, **options)
        files.append(file.getvalue())
    lossless, smaller = files
    return smaller if 2 * len(smaller) < len(lossless) else lossless


def _trimmed(sheet: Image.Image) -> Image.Image:
    """Without the white around it."""
    ink = np.argwhere(np.asarray(sheet).min(axis=-1) < 255)
    if not len(ink):
        return sheet
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0) + 1
    return sheet.crop((int(left), int(top), int(right), int(bottom)))
