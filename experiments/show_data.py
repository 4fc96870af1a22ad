"""Draws what a network would be given, after augmentation, as a contact sheet.

For any config: pictures, point clouds, videos, spectrograms and waveforms, each with its number in
the data set and its class.
"""

from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments.cli.errors import writing
from experiments.cli.main import run
from experiments.figures.contact_sheets import Entry, contact_sheet, png, scales_of
from experiments.run.examples import caption, of_evaluation, of_training
from experiments.run.from_config import check_numbers, data_options
from perceiver.data import registry
from perceiver.errors import InputError
from perceiver.training.files import replace_file

USAGE = """Draws the inputs of a config's network, as training or evaluation has them, into a PNG.

Training shows the beginning of the run with config.train.seed; --example=NUMBER shows one example
as often as --count says, augmented anew each time; --split=eval shows what is evaluated. Above each
stand its number and its class; the file behind each number is printed.

  python -m experiments.show_data --config=configs/digits.py --out=digits.png --count=24
"""

_MOST = 200  # what a picture can hold and still be looked at


def main(config: ConfigDict, _: str | None) -> None:
    """Loads, draws, writes."""
    check_numbers(config)
    values = flags.FLAGS
    with writing(values.out):
        out = Path(values.out).expanduser()
    if out.suffix.lower() != ".png":
        raise InputError(f"--out={values.out} is not the name of a PNG; give one that ends in .png")
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)

    dataset = registry.load(**data_options(config))
    source = dataset.train if values.split == "train" else dataset.eval
    if values.example is not None and values.example >= source.num_examples:
        raise InputError(
            f"--example={values.example} is not in the {values.split} split; its "
            f"{source.num_examples:,} examples are numbered from 0"
        )
    if values.split == "train":
        shown = of_training(source, config, values.count, values.example)
    else:
        shown = of_evaluation(source, values.count, values.example)
    scales = scales_of(config.data)
    entries = [Entry(caption(example, dataset.class_names), example) for example in shown]
    file = config_flags.get_config_filename(flags.FLAGS["config"])
    header = f"{file}, {values.split}, {source.num_examples:,} examples"
    picture = png(contact_sheet(header, entries, scales))
    with writing(out):
        replace_file(out, picture)

    names = [f"#{example['index']}: {source.name(int(example['index']))}" for example in shown]
    print("\n".join(dict.fromkeys(names)))  # those shown several times once
    print(f"picture: {out}")


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "the PNG to write")
    flags.DEFINE_enum("split", "train", ["train", "eval"], "which split, as the run has it")
    flags.DEFINE_integer("count", 24, "how many inputs", lower_bound=1, upper_bound=_MOST)
    flags.DEFINE_integer("example", None, "the number of the only one to show", lower_bound=0)
    run(main, USAGE, required=("config", "out"))
