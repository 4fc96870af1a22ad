"""The report on runs as a web page in one file: values, curves, confusions, examples and maps.

A line with the reason replaces a part whose data or checkpoint is missing.
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from markupsafe import Markup

from experiments.figures.contact_sheets import INPUTS, scales_of
from experiments.figures.curves import MOST_RUNS, curve_points
from experiments.report import examples, results, tables
from experiments.report.charts import Curve, chart, legend
from experiments.report.elements import details, joined, missing, note, page, table, tag
from experiments.report.elements import tiles as tiles_of
from experiments.report.settings import read_about, settings
from experiments.run import predictions, restore
from experiments.run.records import RunSummary
from perceiver import library, run_files
from perceiver.data.dataset import Dataset, Source
from perceiver.errors import InputError
from perceiver.training.checkpoints import CheckpointError
from perceiver.training.logging.metric_kinds import LEARNING_RATE, LOSS, METRIC_KINDS, TOP1

_FIRST_NUMBERS = (0, 1, 2)  # examples whose maps are shown if there are no predictions


def render(runs: Sequence[RunSummary], generator: str) -> bytes:
    """Returns the content of the page.

    Args:
      runs: at least one run, the best first; the page shows the best in detail.
      generator: name of the program, written at the beginning of the page.
    """
    best = runs[0]
    if len(runs) == 1:
        title = f"Run {best.name}"
        sections = [
            ("", joined([tag("p", _summary(best)), _tiles(best)])),
            ("Curves", _curves_of_one(best)),
            *_detail_sections(best),
            ("Settings", settings(best)),
        ]
    else:
        title = f"{len(runs)} runs"
        sections = [
            ("", tag("p", f"The best of them: {best.name}. {_summary(best)}")),
            ("Comparison", _comparison(runs)),
            ("Curves", _curves_of_many(runs)),
            *(
                (f"{heading} of the best run", content)
                for heading, content in _detail_sections(best)
            ),
            ("Each run", joined([_folded(run) for run in runs])),
        ]
    return page(title, generator, sections)


def _summary(run: RunSummary) -> str:
    """Returns a sentence on the state of a run and its results."""
    if run.metric is None or run.last is None:
        return f"It is {run.state} and has not been evaluated."
    metric = ("held-out " if run.held_out else "") + METRIC_KINDS[run.metric].phrase
    test = f"; {tables.share(run.test)} on the test split" if run.test is not None else ""
    return f"It is {run.state}, with {tables.share(run.last)} {metric}{test}."


def _tiles(run: RunSummary) -> Markup:
    values = [
        (f"last {tables.metric_label(run) or 'figure'}", tables.share(run.last)),
        ("best", tables.share(run.best)),
        ("best at step", tables.number(run.best_step, ",")),
        ("test", tables.share(run.test)),
        ("training loss", tables.loss(run.loss)),
        ("steps", tables.number(run.step, ",")),
        ("parameters", tables.number(run.parameters, ",")),
        ("examples/s", tables.number(run.examples_per_second, ",.3g", whole_from=100)),
        ("time", tables.clock(run.seconds)),
    ]
    return tiles_of([(name, value) for name, value in values if value != tables.ABSENT])


def _curves_of_one(run: RunSummary) -> Markup:
    """Returns charts with training and evaluation in each."""
    if not run.records:
        return missing("Nothing is logged yet.")

    def curves(metric: str) -> list[Curve]:
        found = [
            Curve("training", curve_points(run.records, metric, "train"), 0, "train"),
            Curve("evaluation", curve_points(run.records, metric, "eval"), 1, "eval"),
        ]
        return [curve for curve in found if curve.points]

    metric = METRIC_KINDS[run.metric or TOP1.name]
    titles = {"Loss (nats)": LOSS, _capitalised(metric.phrase): metric}
    titles[LEARNING_RATE.title] = LEARNING_RATE
    charts = [chart(title, curves(kind.name), kind) for title, kind in titles.items()]
    return joined([legend(["training", "evaluation"]), tag("div", *charts, class_="charts")])


def _curves_of_many(runs: Sequence[RunSummary]) -> Markup:
    logged = [run for run in runs if run.records]
    if not logged:
        return missing("Nothing is logged yet.")
    shown = logged[:MOST_RUNS]

    def curves(split: str, metric: str, label: str | None = None) -> list[Curve]:
        found = [
            Curve(run.name, curve_points(run.records, metric, split), look, split)
            for look, run in enumerate(shown)
            if label in (None, tables.metric_label(run))
        ]
        return [curve for curve in found if curve.points]

    metrics = {
        label: METRIC_KINDS[run.metric]
        for run in shown
        if run.metric and (label := tables.metric_label(run))
    }
    charts = [
        chart(f"{_capitalised(label)} in evaluation", curves("eval", kind.name, label), kind)
        for label, kind in metrics.items()
    ]
    charts.append(chart("Loss in training (nats)", curves("train", LOSS.name), LOSS))
    rates = curves("train", LEARNING_RATE.name)
    charts.append(chart(LEARNING_RATE.title, rates, LEARNING_RATE))
    left_out = f"The first {len(shown)} of {len(logged)} runs; a chart cannot show more."
    return joined(
        [
            note(left_out) if len(shown) < len(logged) else None,
            legend([run.name for run in shown]),
            tag("div", *charts, class_="charts"),
        ]
    )


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


def _comparison(runs: Sequence[RunSummary]) -> Markup:
    """Returns the tables of the report in text."""
    parts = [table(tables.run_cells(runs))]
    different = tables.differences(runs)
    if different:
        names = [run.name for run in runs if run.settings is not None]
        parts.append(tag("h3", "Settings that differ"))
        parts.append(table(tables.difference_cells(different, names)))
    seeds = tables.over_seeds(runs)
    if seeds:
        heading = "Over seeds, of runs that are done: mean ± standard deviation of a run"
        parts += [tag("h3", heading), table(tables.seed_cells(seeds))]
    return joined(parts)


def _folded(run: RunSummary) -> Markup:
    summary = f"{run.name}: {tables.share(run.last)}, {run.state}"
    return details(summary, _tiles(run), settings(run))


class _Details(NamedTuple):
    """The predictions and data of a run; a text is the reason why a part is missing."""

    saved: predictions.Saved | str
    source: Source | str
    names: results.Names
    data: dict[str, Any]


def _detail_sections(run: RunSummary) -> list[tuple[str, Markup]]:
    """Returns sections on confusions, examples and attention maps."""
    found = _read_details(run)
    sections = []
    chosen = examples.Chosen([], [])
    if isinstance(found.saved, str):
        sections.append(("Confusions and examples", missing(found.saved)))
    else:
        predicted = found.saved.predictions
        split = "the evaluation split" if found.saved.split == "eval" else "the held-out part"
        about = note(
            f"{len(predicted.index):,} examples of {split}, after step {found.saved.step:,}."
        )
        heading, content = results.classes(predicted, found.names)
        sections.append((heading, joined([about, content])))
        chosen = examples.choose(predicted)
        sections.append(("Examples", _examples(found, predicted, chosen)))
    sections.append(("Attention", _attention(run, found, chosen)))
    return sections


def _read_details(run: RunSummary) -> _Details:
    """Reads the predictions and opens the data of a run."""
    try:
        saved = predictions.read(run.folder)
    except InputError as error:
        saved = str(error)
    if saved is None:
        saved = (
            f"There is no {run_files.PREDICTIONS} in {run.folder}: python -m experiments.evaluate, "
            "with the run's --config and --workdir, writes it."
        )
    about = read_about(run)
    data = about.get("config", {}).get("data", {})
    dataset = _dataset(data)
    known = about.get("class_names") or ()
    if isinstance(dataset, str):
        return _Details(saved, dataset, results.Names(tuple(map(str, known))), data)
    names = results.Names(dataset.class_names)
    held_out = not isinstance(saved, str) and saved.split == "held_out"
    source = dataset.held_out if held_out else dataset.eval
    if source is None:
        source = "The examples can't be shown: the config has no held-out part any more."
    elif not isinstance(saved, str) and source.num_examples <= saved.predictions.index.max():
        source = (
            f"The examples can't be shown: the data have changed, {source.num_examples:,} are left "
            f"of {len(saved.predictions.index):,}."
        )
    return _Details(saved, source, names, data)


def _dataset(data: dict[str, Any]) -> Dataset | str:
    """Returns the data set of a run, or the reason why it cannot be loaded."""
    if not data:
        return f"The examples can't be shown: the run has no {run_files.CONFIG}."
    try:
        return restore.dataset(data)
    except ModuleNotFoundError as error:  # not every machine has TensorFlow
        return f"The examples can't be shown: {error.name} is not installed."
    except (InputError, OSError) as error:
        return f"The examples can't be shown: {error}"


def _examples(
    found: _Details, predicted: predictions.Predictions, chosen: examples.Chosen
) -> Markup:
    if isinstance(found.source, str):
        return missing(found.source)
    shown = functools.partial(
        examples.gallery,
        found.source,
        predicted,
        names=found.names,
        scales=scales_of(found.data),
    )
    one = isinstance(predicted, predictions.OneLabel)
    headings = {
        "Wrong, the highest loss first" if one else "The highest losses": chosen.worst,
        "Right, the lowest loss first" if one else "The lowest losses": chosen.best,
    }
    about = "True classes are in bold; below them are the likeliest classes, with ✓ for true ones."
    parts = [note(about)]
    for heading, places in headings.items():
        if places:
            parts += [tag("h3", heading), shown(places)]
    if one and not chosen.worst:
        parts.append(note("No prediction was wrong."))
    return joined(parts)


def _attention(run: RunSummary, found: _Details, chosen: examples.Chosen) -> Markup:
    """Returns maps of the example with the lowest loss and those with the highest losses."""
    kind = (run.settings or {}).get("model.name")
    if kind not in (None, "perceiver"):
        return missing(f"A {kind} has no latents, so there are no attention maps.")
    if isinstance(found.source, str):
        return missing(found.source)
    step: int | Literal["newest"] = "newest"
    if not isinstance(found.saved, str):
        step = found.saved.step
    try:
        classifier = library.load(run.folder, checkpoint=step)
    except (InputError, CheckpointError) as error:
        return missing(f"There are no attention maps: {error}")
    unknown = sorted(set(classifier.inputs) - set(INPUTS))
    if unknown:
        return missing(f"There are no attention maps: {unknown[0]} inputs cannot be drawn.")
    numbers = [n for n in _FIRST_NUMBERS if n < found.source.num_examples]
    if not isinstance(found.saved, str):
        index = found.saved.predictions.index
        numbers = [int(index[e]) for e in [*chosen.best[:1], *chosen.worst]]
    return examples.maps(classifier, found.source, numbers, found.names)
