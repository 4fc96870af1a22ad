"""The report on runs as a web page in one file: figures, curves, confusions, examples, maps.

What is not there any more, such as data or checkpoints, is said in a line; the rest is shown.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.figures.contact_sheets import INPUTS, scales_of
from experiments.report import examples, results
from experiments.report import tables as tables
from experiments.report.charts import COLOURS, DASHES, Line, chart, legend
from experiments.report.html import Html, details, joined, missing, note, page, table, tag
from experiments.report.html import tiles as tiles_of
from experiments.report.settings import about_of, settings
from experiments.run import predictions, restore
from experiments.run.records import ABOUT_FILE, Run
from perceiver import run_files
from perceiver.errors import InputError

if TYPE_CHECKING:
    from perceiver.data.dataset import Dataset, Source

MOST_RUNS = len(COLOURS) * len(DASHES)  # that can be told apart in a chart
_TITLES = {"top1": "top-1 accuracy", "mAP": "mean average precision"}
_FIRST_NUMBERS = (0, 1, 2)  # of examples, where none went better than others


def html(runs: Sequence[Run], generator: str) -> bytes:
    """The page.

    Args:
      runs: the best first, at least one; it is the one that is looked at closely.
      generator: the program, which the page names at its beginning.
    """
    best = runs[0]
    if len(runs) == 1:
        title = f"Run {best.name}"
        sections = [
            ("", joined([tag("p", _in_words(best)), _tiles(best)])),
            ("Curves", _curves_of_one(best)),
            *_closely(best),
            ("Settings", settings(best)),
        ]
    else:
        title = f"{len(runs)} runs"
        said = f"The best of them: {best.name}. {_in_words(best)}"
        sections = [
            ("", tag("p", said)),
            ("Comparison", _comparison(runs)),
            ("Curves", _curves_of_many(runs)),
            *((f"{heading} of the best run", content) for heading, content in _closely(best)),
            ("Each run", joined([_folded(run) for run in runs])),
        ]
    return page(title, generator, sections)


def _in_words(run: Run) -> str:
    """What a run reached, in a sentence."""
    if run.metric is None or run.last is None:
        return f"It is {run.state} and has not been evaluated."
    words = ("held-out " if run.held_out else "") + _TITLES[run.metric]
    test = f"; {tables.number(run.test, '.2%')} on the test split" if run.test is not None else ""
    return f"It is {run.state}, with {tables.number(run.last, '.2%')} {words}{test}."


def _tiles(run: Run) -> Html:
    metric = tables.metric_in_words(run) or "figure"
    values = [
        (f"last {metric}", tables.number(run.last, ".2%")),
        ("best", tables.number(run.best, ".2%")),
        ("best at step", tables.number(run.best_step, ",")),
        ("test", tables.number(run.test, ".2%")),
        ("training loss", tables.number(run.loss, ".4f")),
        ("steps", tables.number(run.step, ",")),
        ("parameters", tables.number(run.parameters, ",")),
        ("examples/s", tables.number(run.examples_per_second, ",.3g", whole_from=100)),
        ("time", tables.clock(run.seconds)),
    ]
    return tiles_of([(name, value) for name, value in values if value != tables.ABSENT])


def _points(run: Run, split: str, value: str) -> list[tuple[int, float]]:
    return [(r["step"], r[value]) for r in run.records if r["split"] == split and value in r]


def _curves_of_one(run: Run) -> Html:
    """Training and evaluation in each chart."""
    if not run.records:
        return missing("Nothing is logged yet.")

    def lines(value: str) -> list[Line]:
        found = [
            Line("training", _points(run, "train", value), 0, noisy=value != "learning_rate"),
            Line("evaluation", _points(run, "eval", value), 1),
        ]
        return [line for line in found if line.points]

    metric = run.metric or "top1"
    charts = [
        chart("Loss (nats)", lines("loss")),
        chart(_TITLES[metric].capitalize(), lines(metric), percent=True),
        chart("Learning rate", lines("learning_rate")),
    ]
    return joined(
        [legend([("training", 0), ("evaluation", 1)]), tag("div", *charts, class_="charts")]
    )


def _curves_of_many(runs: Sequence[Run]) -> Html:
    logged = [run for run in runs if run.records]
    if not logged:
        return missing("Nothing is logged yet.")
    shown = logged[:MOST_RUNS]

    def lines(split: str, value: str, watched: str | None = None) -> list[Line]:
        found = [
            Line(run.name, _points(run, split, value), look, split == "train" and value == "loss")
            for look, run in enumerate(shown)
            if watched in (None, tables.metric_in_words(run))
        ]
        return [line for line in found if line.points]

    metrics = {tables.metric_in_words(run): run.metric for run in shown if run.metric}
    charts = [
        chart(
            f"{words[0].upper()}{words[1:]} in evaluation",
            lines("eval", metric, words),
            percent=True,
        )
        for words, metric in metrics.items()
    ]
    charts.append(chart("Loss in training (nats)", lines("train", "loss")))
    charts.append(chart("Learning rate", lines("train", "learning_rate")))
    left_out = (
        f"The first {len(shown)} of {len(logged)} runs, which is as many as can be told apart."
    )
    return joined(
        [
            note(left_out) if len(shown) < len(logged) else None,
            legend([(run.name, look) for look, run in enumerate(shown)]),
            tag("div", *charts, class_="charts"),
        ]
    )


def _comparison(runs: Sequence[Run]) -> Html:
    """The tables of the report in text."""
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


def _folded(run: Run) -> Html:
    reached = tables.number(run.last, ".2%")
    return details(f"{run.name}: {reached}, {run.state}", _tiles(run), settings(run))


class _Looked(NamedTuple):
    """What there is to look at closely in a run; a text says why a part is missing."""

    saved: predictions.Saved | str
    source: "Source | str"
    names: results.Names
    data: dict[str, Any]


def _closely(run: Run) -> list[tuple[str, Html]]:
    """Confusions, examples and attention maps."""
    looked = _look(run)
    sections = []
    chosen = examples.Chosen([], [])
    if isinstance(looked.saved, str):
        sections.append(("Confusions and examples", missing(looked.saved)))
    else:
        found = looked.saved.predictions
        split = "the evaluation split" if looked.saved.split == "eval" else "the held-out part"
        about = note(f"{len(found.index):,} examples of {split}, after step {looked.saved.step:,}.")
        heading, content = results.classes(found, looked.names)
        sections.append((heading, joined([about, content])))
        chosen = examples.choose(found)
        sections.append(("Examples", _examples(looked, chosen)))
    sections.append(("Attention", _attention(run, looked, chosen)))
    return sections


def _look(run: Run) -> _Looked:
    """Reads predictions and opens the data of a run."""
    try:
        saved = predictions.read(run.folder)
    except InputError as error:
        saved = str(error)
    if saved is None:
        saved = (
            f"There is no {run_files.PREDICTIONS} in {run.folder}: python -m experiments.evaluate, "
            "with the run's --config and --workdir, writes it."
        )
    about = about_of(run)
    data = about.get("config", {}).get("data", {})
    dataset = _dataset(data)
    known = about.get("class_names") or ()
    if isinstance(dataset, str):
        return _Looked(saved, dataset, results.Names(tuple(map(str, known))), data)
    names = results.Names(dataset.class_names)
    held_out = not isinstance(saved, str) and saved.split == "held_out"
    source = dataset.held_out if held_out else dataset.eval
    if source is None:
        source = "The examples can't be shown: no part is set apart any more."
    elif not isinstance(saved, str) and source.num_examples <= saved.predictions.index.max():
        source = (
            f"The examples can't be shown: the data have changed, {source.num_examples:,} are left "
            f"of {len(saved.predictions.index):,}."
        )
    return _Looked(saved, source, names, data)


def _dataset(data: dict[str, Any]) -> "Dataset | str":
    """The data of a run as they are now."""
    if not data:
        return f"The examples can't be shown: the run has no {ABOUT_FILE} that says what they are."
    from perceiver.errors import InputError

    try:
        return restore.dataset(data)
    except ModuleNotFoundError as error:  # not every machine has TensorFlow
        return f"The examples can't be shown: {error.name} is not installed."
    except (InputError, OSError) as error:
        return f"The examples can't be shown: {error}"


def _examples(looked: _Looked, chosen: examples.Chosen) -> Html:
    if isinstance(looked.source, str):
        return missing(looked.source)
    shown = functools.partial(
        examples.gallery,
        looked.source,
        looked.saved.predictions,
        names=looked.names,
        scales=scales_of(looked.data),
    )
    one = isinstance(looked.saved.predictions, predictions.OneLabel)
    headings = {
        "Wrong, the highest loss first" if one else "The highest losses": chosen.worst,
        "Right, the lowest loss first" if one else "The lowest losses": chosen.best,
    }
    parts = [note("In bold what is true, below it what the network found likeliest; ✓ is true.")]
    for heading, places in headings.items():
        if places:
            parts += [tag("h3", heading), shown(places)]
    if one and not chosen.worst:
        parts.append(note("None was wrong."))
    return joined(parts)


def _attention(run: Run, looked: _Looked, chosen: examples.Chosen) -> Html:
    """Maps of the example that went best and of those that went worst."""
    kind = (run.settings or {}).get("model.name")
    if kind not in (None, "perceiver"):
        return missing(f"A {kind} has no latents whose attention could be drawn.")
    if isinstance(looked.source, str):
        return missing(looked.source)
    from perceiver import library
    from perceiver.training.checkpoints import CheckpointError

    step = "newest" if isinstance(looked.saved, str) else looked.saved.step
    try:
        classifier = library.load(run.folder, checkpoint=step)
    except (library.InputError, CheckpointError) as error:
        return missing(f"There are no attention maps: {error}")
    unknown = sorted(set(classifier.inputs) - set(INPUTS))
    if unknown:
        return missing(f"There are no attention maps: how to draw {unknown[0]} is not known.")
    numbers = [n for n in _FIRST_NUMBERS if n < looked.source.num_examples]
    if not isinstance(looked.saved, str):
        index = looked.saved.predictions.index
        numbers = [int(index[e]) for e in [*chosen.best[:1], *chosen.worst]]
    return examples.maps(classifier, looked.source, numbers, looked.names)
