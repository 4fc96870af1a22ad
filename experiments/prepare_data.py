"""Prepares data sets: AudioSet, folders of clips, ModelNet and ImageNet become TFDS data sets.

python -m experiments.prepare_data audioset --csv=eval_segments.csv --clips=DIR --out=DIR ...
"""

import argparse
import sys
from collections.abc import Sequence

from experiments.cli.argument_parser import Parser
from experiments.cli.errors import EXIT_USER_ERROR, answered
from perceiver.errors import InputError

RUN_HERE = "python -m experiments.prepare_data"
_EXIT_INTERRUPTED = 130  # as shells have it


# TensorFlow is imported by what works with it: --help and mistakes above it are quick.
def _audioset(options: argparse.Namespace, beam: Sequence[str]) -> None:
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
        runner=runners.beam_runner(beam),
        on_report=print,
    )


def _clips(options: argparse.Namespace, beam: Sequence[str]) -> None:
    from perceiver.data.clips.preparation import prepare, runners

    prepare.prepare_folder(
        options.dir,
        options.out,
        val_fraction=options.val_fraction,
        split_seed=options.split_seed,
        need=options.need,
        seconds=options.seconds,
        num_shards=options.shards,
        runner=runners.beam_runner(beam),
        on_report=print,
    )


def _modelnet(options: argparse.Namespace, beam: Sequence[str]) -> None:
    from perceiver.data.points.modelnet40 import builder

    _without_beam("modelnet", beam)
    print(
        builder.prepare(
            options.source, options.out, classes=options.classes, partial=options.partial
        )
    )


def _imagenet(options: argparse.Namespace, beam: Sequence[str]) -> None:
    from perceiver.data.images import imagenet

    _without_beam("imagenet", beam)
    print(imagenet.prepare(options.archives, options.out))


def _without_beam(name: str, beam: Sequence[str]) -> None:
    if beam:
        raise InputError(
            f"{beam[0]!r}: {name} is prepared without Beam, and takes no options of it"
        )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=RUN_HERE,
        description="Makes a TFDS data set of files as people have them.",
        epilog=f"example: {RUN_HERE} audioset --help",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")

    audioset = _add(
        commands,
        "audioset",
        _audioset,
        "AudioSet, or anything in the form of its lists, from a folder of clips; see "
        "docs/audioset.md",
        "--csv=lists/balanced_train_segments.csv --csv=lists/eval_segments.csv --clips=clips "
        "--out=data/audioset",
    )
    audioset.add_argument(
        "--csv",
        action="append",
        required=True,
        metavar="FILE",
        help="list of segments, such as eval_segments.csv; can be given several times",
    )
    audioset.add_argument(
        "--classes",
        metavar="FILE",
        help="the numbered classes (default: class_labels_indices.csv beside the first list)",
    )
    audioset.add_argument(
        "--clips", required=True, metavar="DIR", help="folder of clips, searched at any depth"
    )
    audioset.add_argument(
        "--split",
        metavar="NAME",
        help="the segments of all lists make one split of this name, rather than each list one "
        "that is called as the list is",
    )
    _add_clip_options(audioset, need="both")

    clips = _add(
        commands,
        "clips",
        _clips,
        "sound or video files in folders by class: <class>/*, or train/<class>/* and val/<class>/*",
        "--dir=recordings --out=data/recordings --need=sound",
    )
    clips.add_argument("--dir", required=True, metavar="DIR", help="the folder")
    clips.add_argument(
        "--val_fraction",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="of the files to hold out where there are no folders train and val (default: 0.1)",
    )
    clips.add_argument(
        "--split_seed", type=int, default=0, metavar="SEED", help="decides which (default: 0)"
    )
    _add_clip_options(clips, need="any")

    modelnet = _add(
        commands,
        "modelnet",
        _modelnet,
        "ModelNet40 or ModelNet10, in any form in which it is given out",
        "--source=ModelNet40.zip --out=data/tfds",
    )
    modelnet.add_argument(
        "--source",
        required=True,
        metavar="PATH",
        help="its zip file or folder: Princeton's meshes, Stanford's modelnet40_ply_hdf5_2048, or "
        "modelnet40_normal_resampled. Or download:ModelNet40.zip, download:ModelNet10.zip or "
        "download:modelnet40_ply_hdf5_2048.zip, which fetches it from its publisher",
    )
    modelnet.add_argument(
        "--classes",
        type=int,
        choices=(40, 10),
        help="where the source could be either (default: told by its folders)",
    )
    modelnet.add_argument(
        "--partial",
        action="store_true",
        help="take fewer clouds than the official lists have",
    )

    pictures = _add(
        commands,
        "imagenet",
        _imagenet,
        "ImageNet (ILSVRC 2012), from its two archives",
        "--archives=downloads --out=data/tfds",
    )
    pictures.add_argument(
        "--archives",
        required=True,
        metavar="DIR",
        help="folder with ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar",
    )
    return parser


def _add(commands, name: str, main, text: str, example: str) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=text,
        description=f"Prepares {text}.",
        epilog=f"example: {RUN_HERE} {name} {example}",
        allow_abbrev=False,
    )
    command.set_defaults(main=main)
    command.add_argument(
        "--out", required=True, metavar="DIR", help="folder of the data set, made if need be"
    )
    return command


def _add_clip_options(command: argparse.ArgumentParser, need: str) -> None:
    command.add_argument(
        "--need",
        metavar="WHAT",
        default=need,
        help="what a clip must have, all else being left out: its 'sound', its 'video', or 'both'; "
        f"with 'any' it is what there is (default: {need})",
    )
    command.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        help="the longest that a clip may be; the beginning is kept (default: 10)",
    )
    command.add_argument(
        "--shards",
        type=int,
        metavar="N",
        help="files of each split (default: as many as make some hundred megabytes each)",
    )
    command.usage = (
        f"{command.format_usage().removeprefix('usage: ').rstrip()} [-- BEAM OPTIONS ...]"
    )


def main(arguments: Sequence[str]) -> int:
    """Runs a command; returns the exit status."""
    here = list(arguments)
    beam = []
    if "--" in here:  # the rest is for Beam, which knows its own options
        beam = here[here.index("--") + 1 :]
        here = here[: here.index("--")]
    try:
        options = _parser().parse_args(here)
        options.main(options, beam)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("stopped: run the same command again", file=sys.stderr)
        return _EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    with answered():
        sys.exit(main(sys.argv[1:]))
