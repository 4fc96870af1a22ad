"""Draws what the latents of a trained Perceiver attend to (Figs. 3 and 7 to 31)."""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from experiments.attention_maps.overview import draw_overview
from experiments.cli.errors import output_errors
from experiments.cli.main import run
from experiments.cli.parser import Parser, listed, path, whole_number
from experiments.figures.attention.colours import LOGITS, WEIGHTS, Palette
from experiments.figures.attention.layouts import input_grids, split_by_modality
from experiments.figures.attention.pictures import (
    attention_weights,
    cross_attend_name,
    draw_gif,
    draw_png,
    maps_of_most_selective,
)
from experiments.figures.contact_sheets import png, scales_of
from experiments.run import input_files, restore
from experiments.run.examples import caption, evaluation_example
from perceiver.errors import InputError
from perceiver.library import Classifier
from perceiver.training.files import replace_file


def parser() -> Parser:
    """Returns the parser of the program's flags."""
    parser = Parser(
        "experiments.attention_maps",
        """Draws what the latents of a trained Perceiver attend to, into a folder.

--workdir is a run's folder or a file FILE.safetensors. --input=FILE is a picture, sound, video or
point cloud; --example=NUMBER is an example of the run's evaluation split. Of several windows of
sound or video the middle one is shown. For each cross-attend (numbered from 1 as in the paper;
--cross_attends=1,2,8 chooses some) and modality the files are

  cross_attend_1_image_before_softmax.png   the attention logits of all latents, as in the paper
  cross_attend_1_image_after_softmax.png    the attention weights of all latents
  cross_attend_1_image_telling.png          the latents that attend to the fewest inputs, large

and with --latents=0,5,17 (numbered from 0), instead of these,

  latent_5_image_before_softmax.png         one latent in all chosen cross-attends, large, next
  latent_5_image_after_softmax.png          to the input

and, for video, animations of the large ones (.gif). Of several heads the mean is shown.""",
        examples=["--workdir=runs/digits --example=0 --out=maps"],
    )
    parser.add_workdir("folder of a run, or a FILE.safetensors that was exported from one")
    parser.add_argument(
        "--out", metavar="DIR", type=path, required=True, help="folder for the pictures"
    )
    parser.add_argument("--input", type=path, help="picture, sound, video or point cloud to show")
    parser.add_argument(
        "--example",
        type=whole_number(0),
        help="number of the example of the evaluation split to show, instead of --input",
    )
    parser.add_argument(
        "--cross_attends",
        type=listed,
        help="numbers of the cross-attends, from 1, separated by commas; by default all",
    )
    parser.add_argument(
        "--latents",
        type=listed,
        help="numbers of latents to draw large, from 0, separated by commas; by default an "
        "overview of all",
    )
    parser.add_argument("--checkpoint", default="newest", help="newest, best or a step")
    return parser


def main(options: argparse.Namespace) -> None:
    """Loads the network, draws the maps and writes the files."""
    workdir = options.workdir
    if (options.input is None) == (options.example is None):
        raise InputError("give either --input=FILE or --example=NUMBER")
    chosen = _numbers("cross_attends", options.cross_attends, first=1)
    latents = _numbers("latents", options.latents, first=0)
    out = Path(options.out)
    with output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise InputError(f"--out={options.out} can't be written: Permission denied")

    classifier = restore.load(workdir, options.checkpoint)
    model = classifier.model
    if model["name"] != "perceiver":
        raise InputError(f"{workdir} is of a {model['name']}; only a perceiver has attention maps")
    input_grids(classifier)
    _check("cross_attends", chosen, 1, model["num_cross_attends"], "cross-attends")
    _check("latents", latents, 0, model["num_latents"], "latents")
    if chosen is None:
        chosen = list(range(1, model["num_cross_attends"] + 1))
    if options.input is None:
        source, inputs = _example(classifier, options.example)
    else:
        source, inputs = _file(classifier, Path(options.input))

    cross_attends = [number - 1 for number in chosen]
    if latents is None:
        files = draw_all(classifier, inputs, source, cross_attends=cross_attends)
    else:
        files = draw_latents(
            classifier, inputs, source, cross_attends=cross_attends, latents=latents
        )
    for name, data in files:
        with output_errors(out / name):
            replace_file(out / name, data)
        print(f"picture: {out / name}", flush=True)


def draw_all(
    classifier: Classifier,
    inputs: dict[str, np.ndarray],
    source: str,
    *,
    cross_attends: Sequence[int],
) -> Iterator[tuple[str, bytes]]:
    """Draws the maps of all latents, one cross-attend after another.

    Args:
      classifier: a Perceiver.
      inputs: arrays of one example by modality, without the axis B.
      source: name of the example in titles.
      cross_attends: numbers of the cross-attends, from 0.

    Yields:
      Pairs of a file's name and its content.
    """
    scales = scales_of(classifier.data)
    for cross_attend, logits in _logits(classifier, inputs, cross_attends, None):
        name = cross_attend_name(classifier, cross_attend)
        num_inputs = logits.shape[-1]
        first = f"cross_attend_{cross_attend + 1}"
        selected = maps_of_most_selective(classifier, logits, cross_attend=cross_attend)
        for stage, values, palette in _stages(logits):
            maps = split_by_modality(classifier, values, cross_attend=cross_attend)
            for part in input_grids(classifier):
                title = f"{source}: attention of {name} to the {part.modality}, {stage} the softmax"
                title += _heads_text(logits)
                array = inputs[part.modality]
                figure = draw_overview(
                    title, part, array, maps[part.modality], palette, scales, num_inputs=num_inputs
                )
                yield f"{first}_{part.modality}_{stage}_softmax.png", png(figure)
        for part in input_grids(classifier):
            title = (
                f"{source}: attention of {name} before the softmax{_heads_text(logits)}, of the "
                f"latents that attend to the fewest of {num_inputs:,} inputs"
            )
            shown = part, inputs[part.modality], selected[part.modality], LOGITS, scales
            yield f"{first}_{part.modality}_telling.png", draw_png(title, *shown)
            if part.modality == "video":
                yield f"{first}_{part.modality}_telling.gif", draw_gif(title, *shown)


def draw_latents(
    classifier: Classifier,
    inputs: dict[str, np.ndarray],
    source: str,
    *,
    cross_attends: Sequence[int],
    latents: Sequence[int],
) -> Iterator[tuple[str, bytes]]:
    """Draws large maps of chosen latents, numbered from 0; see `draw_all`."""
    scales = scales_of(classifier.data)
    # Maps by modality, for each cross-attend.
    by_stage: dict[str, list[dict[str, np.ndarray]]] = {"before": [], "after": []}
    heads = ""
    for cross_attend, logits in _logits(classifier, inputs, cross_attends, latents):
        heads = _heads_text(logits)
        for stage, values, _ in _stages(logits):
            by_stage[stage].append(split_by_modality(classifier, values, cross_attend=cross_attend))
    names = [cross_attend_name(classifier, cross_attend) for cross_attend in cross_attends]
    for place, latent in enumerate(latents):
        for part in input_grids(classifier):
            for stage, palette in (("before", LOGITS), ("after", WEIGHTS)):
                maps = [maps[part.modality][place] for maps in by_stage[stage]]
                title = f"{source}: attention of latent {latent} {stage} the softmax{heads}"
                captioned = list(zip(names, maps, strict=True))
                shown = title, part, inputs[part.modality], captioned, palette, scales
                name = f"latent_{latent}_{part.modality}_{stage}_softmax"
                yield f"{name}.png", draw_png(*shown)
                if part.modality == "video":
                    yield f"{name}.gif", draw_gif(*shown)


def _logits(
    classifier: Classifier,
    inputs: dict[str, np.ndarray],
    cross_attends: Sequence[int],
    latents: Sequence[int] | None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields pairs of a cross-attend and its logits [H, N, M], and frees the logits afterwards."""
    batch = {name: array[None] for name, array in inputs.items()}
    logits = classifier.attention_logits(batch, cross_attends, latents)
    for cross_attend in cross_attends:
        yield cross_attend, np.asarray(logits.pop(cross_attend)[0])


def _stages(logits: np.ndarray) -> Iterator[tuple[str, np.ndarray, Palette]]:
    """Yields 'before' and 'after' the softmax, with maps [N, M] and their colours."""
    yield "before", logits.mean(axis=0), LOGITS
    yield "after", attention_weights(logits), WEIGHTS


def _heads_text(logits: np.ndarray) -> str:
    return f", mean of {len(logits)} heads" if len(logits) > 1 else ""


def _file(classifier: Classifier, path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """Returns the name and the inputs of a file of the user."""
    windows = input_files.read(classifier, path)
    count = len(next(iter(windows.values())))
    middle = count // 2
    name = path.name if count == 1 else f"{path.name}, window {middle + 1} of {count}"
    return name, {modality: array[middle] for modality, array in windows.items()}


def _example(classifier: Classifier, number: int) -> tuple[str, dict[str, np.ndarray]]:
    """Returns the caption and the inputs of an example of the evaluation split."""
    if "name" not in classifier.data:
        raise InputError(
            "the network was not trained on a data set; give --input=FILE, not --example"
        )
    dataset = restore.dataset(classifier.data)
    source = dataset.eval
    if number >= source.num_examples:
        raise InputError(
            f"--example={number} is not in the eval split; its {source.num_examples:,} examples "
            "are numbered from 0"
        )
    shown = evaluation_example(source, number)
    return caption(shown, dataset.class_names), {name: shown[name] for name in classifier.inputs}


def _numbers(flag: str, words: list[str] | None, *, first: int) -> list[int] | None:
    """Returns the different whole numbers that a flag lists; None if it is not given."""
    if words is None:
        return None
    wrong = [word for word in words if not word.strip().isdecimal()]
    if wrong or not words:
        raise InputError(
            f"--{flag}={','.join(words)} is not a list of whole numbers; give some as in "
            f"--{flag}={first},{first + 1}"
        )
    return list(dict.fromkeys(map(int, words)))


def _check(flag: str, numbers: list[int] | None, first: int, count: int, what: str) -> None:
    for number in numbers or ():
        if not first <= number < first + count:
            raise InputError(
                f"--{flag} has {number}; the network's {count} {what} are numbered {first} to "
                f"{first + count - 1}"
            )


if __name__ == "__main__":
    run(main, parser())
