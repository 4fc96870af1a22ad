"""Which variant of which config is which printed row of the paper, Tables 1 to 7.

Figures come from `perceiver.paper`; what a row's network is, from the config.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from perceiver import networks, paper
from perceiver.baselines.resnet import INPUT_KERNEL
from perceiver.costs import Cost

# What the variants have reached here, as docs/experiments.md and the README tell in full.
RUN_HERE = {
    "configs/digits.py": "97.22%",
    "configs/folder.py": "61.88% (4 classes of Imagenette)",
    "configs/folder.py:sound": "65.00% (10 classes of ESC-10)",
    "configs/folder.py:mel": "80.00% (10 classes of ESC-10)",
    "configs/folder.py:resnet": "71.25% (4 classes of Imagenette)",
    "configs/folder.py:vit": "45.00% (4 classes of Imagenette)",
    "configs/modelnet40.py:small": "90.86% (ModelNet10)",
    "configs/modelnet40.py:small_resnet": "79.41% (ModelNet10)",
    "configs/modelnet40.py:small_vit": "81.50% (ModelNet10)",
    "configs/modelnet40.py:small_transformer": "91.52% (ModelNet10)",
}


class PrintedRow(NamedTuple):
    """A result that the paper prints, with what it prints of the network's size.

    Attributes:
      table: its number; those without video dropout, in the text of Sec. 4.2, belong to Table 3.
      row: its name.
      metric: 'top-1', 'top-1 in training' or 'mAP'.
      value: in %; None where the run did not fit in memory.
      flops: as printed, or None, as the next two.
      parameters: as printed.
      receptive_field: inputs that the first layer looks at together; Table 2 prints one for raw
        and permuted pictures, and it stands with the raw ones here.
      slip: why a printed size is a slip of the paper's, '' where none is.
    """

    table: int
    row: str
    metric: str
    value: float | None
    flops: str | None = None
    parameters: str | None = None
    receptive_field: int | None = None
    slip: str = ""


class Agreement(NamedTuple):
    """A printed size, and that of the network here in the same form."""

    ours: str
    printed: str

    @property
    def holds(self) -> bool:
        """Whether they are equal to the last printed digit."""
        return self.ours == self.printed


_IMAGENET = {
    "resnet_ff": "ResNet-50 (FF)",
    "vit_ff": "ViT-B-16 (FF)",
    "transformer": "Transformer (64x64, FF)",
    "": "Perceiver (FF)",
    "learned_positions": paper.LEARNED_POSITIONS,
}
_AUDIOSET = {
    "": "raw audio",
    "mel": "mel spectrogram",
    "video": "video",
    "sound_video": "raw audio + video",
    "mel_video": "mel spectrogram + video",
    "mel_video_tuned": "mel spectrogram - tuned + video",
}
_MODELNET40 = {
    "resnet": "ResNet-50 (FF)",
    **{f"vit_{n}": f"ViT-B-{n} (FF)" for n in (2, 4, 8, 16)},
    "transformer": "Transformer (44x44)",
    "": "Perceiver",
}
_SLIP = "a slip of the paper's: the row below has the same parameters, printed as 42.1M"


def _imagenet() -> Iterator[tuple[str, PrintedRow]]:
    for variant, row in _IMAGENET.items():
        if row in paper.IMAGENET:
            yield variant, PrintedRow(1, row, "top-1", paper.IMAGENET[row])
    for variant, row in _IMAGENET.items():
        raw = paper.IMAGENET.get(row, paper.LEARNED_POSITIONS_RAW)
        permuted, field = paper.PERMUTED[row]
        yield variant, PrintedRow(2, f"{row}, raw", "top-1", raw, receptive_field=field)
        variant = f"{variant}_permuted".lstrip("_")
        yield variant, PrintedRow(2, f"{row}, permuted", "top-1", permuted)
    for number, cost in paper.CROSS_ATTENDS_ALONE.items():
        yield f"cross_attends_alone_{number}", PrintedRow(5, str(number), "top-1", *cost)
    for (number, start), cost in paper.CROSS_ATTENDS.items():
        suffix, how = ("_at_start", "at start") if start else ("", "interleaved")
        variant = f"cross_attends_{number}{suffix}" if (number, start) != (8, False) else ""
        slip = _SLIP if (number, start) == (1, True) else ""
        yield variant, PrintedRow(6, f"{number} ({how})", "top-1", *cost, slip=slip)
    for shared, cost in paper.SHARING.items():
        variant = "" if shared else "unshared"
        row = f"{'W/' if shared else 'No'} weight sharing"
        yield variant, PrintedRow(7, row, "top-1", *cost)
        yield variant, PrintedRow(7, row, "top-1 in training", paper.SHARING_TRAINING[shared])


def _audioset() -> Iterator[tuple[str, PrintedRow]]:
    for variant, row in _AUDIOSET.items():
        yield variant, PrintedRow(3, row, "mAP", paper.AUDIOSET[row])
    for variant, row in _AUDIOSET.items():
        if row in paper.WITHOUT_VIDEO_DROPOUT:
            value = paper.WITHOUT_VIDEO_DROPOUT[row]
            yield (
                f"{variant}_without_dropout",
                PrintedRow(3, f"{row}, without video dropout", "mAP", value),
            )


def _modelnet40() -> Iterator[tuple[str, PrintedRow]]:
    for variant, row in _MODELNET40.items():
        yield variant, PrintedRow(4, row, "top-1", paper.MODELNET40[row])


def _named(file: str, rows: Iterator[tuple[str, PrintedRow]]) -> list[tuple[str, PrintedRow]]:
    return [(f"{file}:{variant}".rstrip(":"), row) for variant, row in rows]


def of_variants(rows: list[tuple[str, PrintedRow]]) -> dict[str, list[PrintedRow]]:
    """The rows of each variant."""
    grouped = {}
    for name, row in rows:
        grouped.setdefault(name, []).append(row)
    return grouped


# What the paper's authors trained: 'configs/NAME.py:variant' and row, table by table.
PRINTED = sorted(
    [
        *_named("configs/imagenet.py", _imagenet()),
        *_named("configs/audioset.py", _audioset()),
        *_named("configs/modelnet40.py", _modelnet40()),
    ],
    key=lambda named: named[1].table,
)

# What they took from the literature.
LITERATURE = _named(
    "configs/imagenet.py",
    (
        (variant, PrintedRow(1, row, "top-1", paper.IMAGENET_LITERATURE[row]))
        for variant, row in (("resnet", "ResNet-50"), ("vit", "ViT-B-16"))
    ),
)


def receptive_field(config: ConfigDict) -> int:
    """How many inputs the first layer of a network looks at together (Table 2)."""
    if config.model.name == "resnet":
        return INPUT_KERNEL**2
    if config.model.name == "vit":
        return config.model.patch**2
    model = config.model.to_dict()
    _, parts = networks.input_spec(model, config.data.to_dict())
    num_inputs = sum(part.num_inputs for part in parts)
    if config.model.name == "transformer":
        return num_inputs
    return networks.architecture(model).inputs_per_cross_attend(num_inputs)


def agreements(row: PrintedRow, config: ConfigDict, cost: Cost) -> dict[str, Agreement]:
    """The sizes that a row prints beside those of its variant's network.

    Args:
      row: one of the variant's.
      config: the variant's.
      cost: the network's in total.
    """
    found = {}
    if row.parameters is not None:
        found["parameters"] = Agreement(f"{cost.parameters / 1e6:.1f}M", row.parameters)
    if row.flops is not None:
        found["FLOPs"] = Agreement(f"{cost.flops / 1e9:.1f}B", row.flops)
    if row.receptive_field is not None:
        found["receptive field"] = Agreement(
            f"{receptive_field(config):,}", f"{row.receptive_field:,}"
        )
    return found


def in_words(rows: Sequence[PrintedRow]) -> str:
    """What the rows of one variant print: '78.0% (Tables 1 and 2); 44.9M, 707.2B', '' for none."""
    tables, sizes = {}, ""
    for row in rows:
        result = "out of memory" if row.value is None else f"{row.value}%"
        if row.metric == "top-1 in training":
            result += " in training"
        tables.setdefault(result, []).append(str(row.table))
        if row.parameters is not None:
            sizes = f"; {row.parameters}{' (a slip)' if row.slip else ''}, {row.flops}"
    return ", ".join(f"{x} ({_listed(numbers)})" for x, numbers in tables.items()) + sizes


def _listed(numbers: list[str]) -> str:
    *first, last = numbers
    return f"Tables {', '.join(first)} and {last}" if first else f"Table {last}"
