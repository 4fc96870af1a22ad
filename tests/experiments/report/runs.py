"""Writes run folders for the tests of reports."""

import json

import numpy as np
import pytest

from experiments.report import __main__ as report
from experiments.run import predictions
from perceiver.training.logging.metrics import MetricLog
from tests.processes import exit_status


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with the folders of two runs."""
    with MetricLog(tmp_path / "a", resume_step=0) as log:
        log.write(1000, "train", loss=2.5, top1=0.1)
        log.write(1000, "eval", loss=2.0, top1=0.75)
        log.write_speed(1500, seconds_per_step=0.5)
        log.write(2000, "train", loss=1.25, top1=0.5)
        log.write(2000, "eval", loss=1.5, top1=0.5)
    write_config(tmp_path / "a", train={"batch_size": 64, "seed": 0}, parameters=1234, git="f" * 40)
    with MetricLog(tmp_path / "lr=0.1", resume_step=0) as log:
        log.write(500, "train", loss=3.0, top1=0.1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_config(folder, parameters=1, git=None, versions=None, **config):
    folder.mkdir(parents=True, exist_ok=True)
    values = {"config": config, "parameters": parameters, "git": git, "versions": versions or {}}
    (folder / "config.json").write_text(json.dumps(values))


def write_finished_run(folder, figures, **config):
    """Writes a finished run with these accuracies in evaluation."""
    with MetricLog(folder, resume_step=0) as log:
        for step, figure in enumerate(figures, start=1):
            log.write(step, "eval", loss=1.0, top1=figure)
    write_config(folder, **config)
    (folder / "eval.json").write_text(json.dumps({"step": len(figures), "top1": figures[-1]}))


def cells(lines):
    return [line.split() for line in lines.splitlines()]


def json_report(capsys, *arguments, status=0):
    """Returns the output of --format=json."""
    assert exit_status(report, [*arguments, "--format=json"]) == status
    return json.loads(capsys.readouterr().out)


def one_label(label, predicted, probability=0.75, k=3):
    """Returns predictions whose most likely class is `predicted`; other classes follow in order."""
    label, predicted = np.asarray(label, np.int32), np.asarray(predicted, np.int32)
    classes = (predicted[:, None] + np.arange(k)) % max(k, label.max() + 1, predicted.max() + 1)
    probabilities = np.full(classes.shape, (1 - probability) / (k - 1), np.float32)
    probabilities[:, 0] = probability
    label_probability = np.where(label == predicted, probability, (1 - probability) / (k - 1))
    return predictions.OneLabel(
        np.arange(len(label), dtype=np.int32),
        label,
        classes.astype(np.int32),
        probabilities,
        label_probability.astype(np.float32),
    )
