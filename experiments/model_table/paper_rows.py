"""The printed rows of the paper's Tables 1 to 7, each with the config variant of its network.

The numbers come from `perceiver.paper`. The variants name their rows in the tables VARIANTS of
configs/.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from experiments.cli.config_files import all_variants
from perceiver import networks, paper
from perceiver.baselines.resnet import INPUT_KERNEL
from perceiver.costs import Cost

# Results of the variants that were run with this project; docs/experiments.md has the details.
MEASURED = {name: record.measured for name, record in all_variants() if record.measured}


class PrintedRow(NamedTuple):
    """A result that the paper prints, with the printed sizes of the network.

    Attributes:
      table: Number of the table. The results without video dropout, which are in the text of
        Sec. 4.2, count as rows of Table 3.
      row: Name of the row.
      metric: 'top-1', 'top-1 in training' or 'mAP'.
      value: Result in %; None if the run did not fit in memory.
      flops: FLOPs as printed, or None.
      parameters: Parameters as printed, or None.
      receptive_field: Number of inputs in the first layer's receptive field, or None. Table 2
        prints one number for raw and permuted pictures; the raw rows have it here.
      slip: Reason why a printed size is a slip of the paper's; '' if none is.
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
    """A printed size, and the size of this project's network in the same format."""

    ours: str
    printed: str

    @property
    def holds(self) -> bool:
        """Returns whether they are equal to the last printed digit."""
        return self.ours == self.printed


_SLIP = "a slip of the paper's: the row below has the same parameters, printed as 42.1M"


def _rows() -> Iterator[PrintedRow]:
    """Yields the rows of the networks that the authors trained, in the printed order."""
    for row, value in paper.IMAGENET.items():
        yield PrintedRow(1, row, "top-1", value)
    for row, (permuted, field) in paper.PERMUTED.items():
        raw = paper.IMAGENET.get(row, paper.LEARNED_POSITIONS_RAW)
        yield PrintedRow(2, f"{row}, raw", "top-1", raw, receptive_field=field)
        yield PrintedRow(2, f"{row}, permuted", "top-1", permuted)
    for row, value in paper.AUDIOSET.items():
        yield PrintedRow(3, row, "mAP", value)
    for row, value in paper.WITHOUT_VIDEO_DROPOUT.items():
        yield PrintedRow(3, f"{row}, without video dropout", "mAP", value)
    for row, value in paper.MODELNET40.items():
        yield PrintedRow(4, row, "top-1", value)
    for number, cost in paper.CROSS_ATTENDS_ALONE.items():
        yield PrintedRow(5, str(number), "top-1", *cost)
    for (number, start), cost in paper.CROSS_ATTENDS.items():
        row = f"{number} ({'at start' if start else 'interleaved'})"
        slip = _SLIP if (number, start) == (1, True) else ""
        yield PrintedRow(6, row, "top-1", *cost, slip=slip)
    for shared, cost in paper.SHARING.items():
        row = f"{'W/' if shared else 'No'} weight sharing"
        yield PrintedRow(7, row, "top-1", *cost)
        yield PrintedRow(7, row, "top-1 in training", paper.SHARING_TRAINING[shared])


def _with_variants(rows: Iterable[PrintedRow]) -> list[tuple[str, PrintedRow]]:
    """Returns each row with the variant that names it in its table VARIANTS."""
    variants = {
        (table, row): name for name, record in all_variants() for table, row in record.rows.items()
    }
    return [(variants[row.table, row.row], row) for row in rows]


def of_variants(rows: list[tuple[str, PrintedRow]]) -> dict[str, list[PrintedRow]]:
    """Returns the rows of each variant."""
    grouped: dict[str, list[PrintedRow]] = {}
    for name, row in rows:
        grouped.setdefault(name, []).append(row)
    return grouped


# The networks that the authors trained: 'configs/NAME.py:variant' and row, table by table.
PRINTED = _with_variants(_rows())

# The networks whose results the authors took from the literature.
LITERATURE = _with_variants(
    PrintedRow(1, row, "top-1", value) for row, value in paper.IMAGENET_LITERATURE.items()
)


def receptive_field(config: ConfigDict) -> int:
    """Returns the number of inputs in the first layer's receptive field (Table 2)."""
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
    """Returns the sizes that a row prints, each with the size of the variant's network.

    Args:
      row: Row of the variant.
      config: Config of the variant.
      cost: Total cost of its network.
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
    """Returns the printed results of a variant, as in '78.0% (Tables 1 and 2); 44.9M, 707.2B'."""
    tables: dict[str, list[str]] = {}
    sizes = ""
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
