"""Prepares data sets: turns AudioSet, folders of clips, ModelNet and ImageNet into TFDS data sets.

python -m experiments.prepare_data audioset --csv=eval_segments.csv --clips=DIR --out=DIR ...
"""

import argparse
import sys

from experiments.cli.errors import EXIT_INTERRUPTED
from experiments.cli.main import call
from experiments.cli.parser import Parser, path
from perceiver.errors import InputError


def parser() -> Parser:
    """Returns the parser of the program's flags."""
    parser = Parser(
        "experiments.prepare_data",
        """Makes a TFDS data set from the files in which a data set is published.

audioset: AudioSet, or other clips with lists in its format
clips:    sound or video files in folders by class
modelnet: ModelNet40 or ModelNet10
imagenet: ImageNet (ILSVRC 2012)

Each subcommand has its own --help. Flags of Apache Beam follow -- at the end of the command.""",
        examples=["audioset --help"],
    )
    _add_audioset(parser)
    _add_clips(parser)
    _add_modelnet(parser)
    _add_imagenet(parser)
    for name, subcommand in parser.subcommands.items():
        subcommand.add_argument(
            "--out",
            required=True,
            metavar="DIR",
            type=path,
            help="folder for the data set; it need not exist",
        )
        by_beam = name in ("audioset", "clips")
        subcommand.add_rest("beam", "BEAM FLAGS ..." if by_beam else None)
    return parser


def main(options: argparse.Namespace) -> int:
    """Prepares the data set of the chosen subcommand and returns the exit status."""
    try:
        _SUBCOMMANDS[options.subcommand](options)
    except KeyboardInterrupt:
        print("stopped: run the same command again", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _add_audioset(parser: Parser) -> None:
    audioset = parser.add_subcommand(
        "audioset",
        "Prepares AudioSet, or other clips with lists in its format, from a folder of clips; see\n"
        "docs/audioset.md.",
        examples=[
            "--csv=lists/balanced_train_segments.csv --csv=lists/eval_segments.csv --clips=clips "
            "--out=data/audioset"
        ],
    )
    audioset.add_argument(
        "--csv",
        action="append",
        required=True,
        metavar="FILE",
        type=path,
        help="list of segments, such as eval_segments.csv; may be repeated",
    )
    audioset.add_argument(
        "--classes",
        metavar="FILE",
        type=path,
        help="numbered list of classes; by default class_labels_indices.csv in the folder of the "
        "first --csv",
    )
    audioset.add_argument(
        "--clips",
        required=True,
        metavar="DIR",
        type=path,
        help="folder of clips, searched at any depth",
    )
    audioset.add_argument(
        "--split",
        metavar="NAME",
        help="name of one split for the segments of all lists; by default each list makes a split "
        "with its own name",
    )
    _add_clip_flags(audioset, need="both")


def _add_clips(parser: Parser) -> None:
    clips = parser.add_subcommand(
        "clips",
        "Prepares sound or video files in folders by class: <class>/*, or train/<class>/* and\n"
        "val/<class>/*.",
        examples=["--dir=recordings --out=data/recordings --need=sound"],
    )
    clips.add_argument(
        "--dir", required=True, metavar="DIR", type=path, help="folder of the class folders"
    )
    clips.add_argument(
        "--val_fraction",
        type=float,
        default=0.1,
        help="share of the files for evaluation, if there are no folders train and val",
    )
    clips.add_argument(
        "--split_seed", type=int, default=0, help="seed of the choice of these files"
    )
    _add_clip_flags(clips, need="any")


def _add_modelnet(parser: Parser) -> None:
    modelnet = parser.add_subcommand(
        "modelnet",
        "Prepares ModelNet40 or ModelNet10, in any published format.",
        examples=["--source=ModelNet40.zip --out=data/tfds"],
    )
    modelnet.add_argument(
        "--source",
        required=True,
        metavar="PATH",
        type=path,
        help="zip file or folder: Princeton's meshes, Stanford's modelnet40_ply_hdf5_2048, or "
        "modelnet40_normal_resampled. download:ModelNet40.zip, download:ModelNet10.zip and "
        "download:modelnet40_ply_hdf5_2048.zip fetch it from its publisher",
    )
    modelnet.add_argument(
        "--classes",
        type=int,
        choices=(40, 10),
        help="40 or 10, for a source with the classes of both; by default detected by its folders",
    )
    modelnet.add_switch("partial", "accept fewer clouds than the official lists have")


def _add_imagenet(parser: Parser) -> None:
    imagenet = parser.add_subcommand(
        "imagenet",
        "Prepares ImageNet (ILSVRC 2012) from its two archives.",
        examples=["--archives=downloads --out=data/tfds"],
    )
    imagenet.add_argument(
        "--archives",
        required=True,
        metavar="DIR",
        type=path,
        help="folder with ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar",
    )


def _add_clip_flags(parser: Parser, need: str) -> None:
    parser.add_argument(
        "--need",
        default=need,
        help="streams that a clip must have, otherwise it is left out: sound, video or both; any "
        "accepts every clip",
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="longest duration; the rest of a clip is cut"
    )
    parser.add_argument(
        "--shards",
        type=int,
        help="number of files for each split; by default files have some hundred megabytes",
    )


# TensorFlow and Beam are imported after the command line is checked: --help and mistakes are quick.


def _audioset(options: argparse.Namespace) -> None:
    from perceiver.data.clips.preparation import prepare, runners

    prepare.prepare_audioset(
        options.csv,
        options.classes,
        options.clips,
        options.out,
        split=options.split,
        need=options.need,
        seconds=options.seconds,
        num_shards=options.shards,
        runner=runners.beam_runner(options.beam),
        on_report=print,
    )


def _clips(options: argparse.Namespace) -> None:
    from perceiver.data.clips.preparation import prepare, runners

    prepare.prepare_folder(
        options.dir,
        options.out,
        val_fraction=options.val_fraction,
        split_seed=options.split_seed,
        need=options.need,
        seconds=options.seconds,
        num_shards=options.shards,
        runner=runners.beam_runner(options.beam),
        on_report=print,
    )


def _modelnet(options: argparse.Namespace) -> None:
    from perceiver.data.points.modelnet40 import builder

    _refuse_beam(options)
    print(
        builder.prepare(
            options.source, options.out, classes=options.classes, partial=options.partial
        )
    )


def _imagenet(options: argparse.Namespace) -> None:
    from perceiver.data.images import imagenet

    _refuse_beam(options)
    print(imagenet.prepare(options.archives, options.out))


def _refuse_beam(options: argparse.Namespace) -> None:
    if options.beam:
        raise InputError(
            f"{options.beam[0]!r}: {options.subcommand} is prepared without Beam, and takes no "
            "options of it"
        )


_SUBCOMMANDS = {
    "audioset": _audioset,
    "clips": _clips,
    "modelnet": _modelnet,
    "imagenet": _imagenet,
}


if __name__ == "__main__":
    sys.exit(call(main, parser(), sys.argv[1:]))
