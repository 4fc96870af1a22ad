"""Draws the augmented inputs of a config's network as a contact sheet.

It shows pictures, point clouds, videos, spectrograms and waveforms, each with its class and its
number in the data set.
"""

import argparse
from pathlib import Path

from experiments.cli.errors import output_errors
from experiments.cli.main import run
from experiments.cli.parser import Parser, path, whole_number
from experiments.figures.contact_sheets import Entry, contact_sheet, png, scales_of
from experiments.run.examples import caption, evaluation_examples, training_examples
from experiments.run.from_config import check_numbers, data_options
from perceiver.data import registry
from perceiver.errors import InputError
from perceiver.training.files import replace_file

_MOST = 200  # inputs in a readable picture


def parser() -> Parser:
    """Returns the parser of the program's flags."""
    parser = Parser(
        "experiments.show_data",
        """Draws the inputs of a config's network, in training or in evaluation, as a PNG.

Training inputs are the first of the run with config.train.seed. --example=NUMBER shows one example
--count times, each time with another augmentation. Above each input are the number and the class of
its example. The names of the files are printed.""",
        examples=["--config=configs/digits.py --out=digits.png --count=24"],
    )
    parser.add_config()
    parser.add_argument("--out", metavar="FILE.png", type=path, required=True, help="PNG to write")
    parser.add_argument(
        "--split", default="train", choices=("train", "eval"), help="split of the run"
    )
    parser.add_argument("--count", default=24, type=whole_number(1, _MOST), help="number of inputs")
    parser.add_argument(
        "--example", type=whole_number(0), help="number of the only example to show"
    )
    return parser


def main(options: argparse.Namespace) -> None:
    """Loads, draws and writes the inputs."""
    config = options.config
    check_numbers(config)
    out = Path(options.out)
    if out.suffix.lower() != ".png":
        raise InputError(f"--out={out} is not the name of a PNG; give one that ends in .png")
    with output_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)

    dataset = registry.load(**data_options(config))
    source = dataset.train if options.split == "train" else dataset.eval
    if options.example is not None and options.example >= source.num_examples:
        raise InputError(
            f"--example={options.example} is not in the {options.split} split; its "
            f"{source.num_examples:,} examples are numbered from 0"
        )
    if options.split == "train":
        examples = training_examples(source, config, options.count, options.example)
    else:
        examples = evaluation_examples(source, options.count, options.example)
    entries = [Entry(caption(example, dataset.class_names), example) for example in examples]
    header = f"{options.config_spec}, {options.split}, {source.num_examples:,} examples"
    picture = png(contact_sheet(header, entries, scales_of(config.data)))
    with output_errors(out):
        replace_file(out, picture)

    names = [f"#{example['index']}: {source.name(int(example['index']))}" for example in examples]
    print("\n".join(dict.fromkeys(names)))  # each name once
    print(f"picture: {out}")


if __name__ == "__main__":
    run(main, parser())
