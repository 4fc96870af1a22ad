"""The report as a web page, opened in a browser."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from configs import digits
from configs.folder import get_config
from experiments.report import __main__ as report
from experiments.run import predictions
from perceiver.training.logging.metrics import MetricLog
from tests.experiments.report.browser import DESKTOP, PHONE, browser, open_page
from tests.experiments.report.runs import here, one_label, write_config, write_finished_run
from tests.processes import TINY, exit_status, run

__all__ = ["browser", "here"]

HOSTILE = ["<script>document.title='x'", "<img src=x onerror=alert(1)>", "\"'&amp;"]


@pytest.fixture
def hostile(tmp_path):
    """The folder of a run on pictures whose class and file names are markup."""
    data = tmp_path / "data <b>"
    draw = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in HOSTILE:
            (data / split / name).mkdir(parents=True)
            for i in range(2):
                pixels = draw.integers(0, 256, (40, 40, 3), np.uint8)
                Image.fromarray(pixels).save(data / split / name / f"<{i}>.png")
    options = json.loads(get_config("").data.to_json()) | {"dir": str(data), "image_size": 16}
    folder = tmp_path / "run <i>&"
    config = {"model": {"name": "perceiver", "note": "</table>"}, "train": {"loss": "softmax"}}
    write_finished_run(folder, [0.5, 0.75], data=options, **config)
    with (folder / "config.json").open("r+") as file:
        values = json.load(file) | {
            "class_names": sorted(HOSTILE),
            "command": ["/x/experiments/train.py", "--config=configs/<u>.py", "--y=a b"],
            "devices": ["<cpu>"],
        }
        file.seek(0)
        json.dump(values, file)
    found = one_label([0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 0, 2])
    predictions.write(folder, 2, "eval", found)
    return folder


def write_page(*arguments, status=0):
    assert exit_status(report, [*map(str, arguments), "--html=out.html"]) == status


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_names_with_markup_are_shown_as_text(width, hostile, here, browser):
    write_page(hostile)
    page = open_page(browser, here / "out.html", width)
    assert page.title() == "Run run <i>&"
    assert page.locator("h1").inner_text() == "Run run <i>&"
    assert page.locator("script, b, i, u, img[src=x]").count() == 0
    assert page.locator("h2").all_inner_texts() == [
        "Curves",
        "Confusions",
        "Examples",
        "Attention",
        "Settings",
    ]
    assert (
        "python -m experiments.train '--config=configs/<u>.py' '--y=a b'"
        in page.content().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )
    text = page.locator("body").inner_text()
    assert "<cpu>" in text
    assert "</table>" in text
    # Four correct and two wrong predictions, each with its picture.
    assert page.locator(".examples img").count() == 6
    figures = page.locator(".examples figcaption").all_inner_texts()
    assert sum(HOSTILE[0] in figure for figure in figures) >= 2
    assert "#1: " in figures[0] or "#4: " in figures[0]
    assert any(f"{HOSTILE[1]}\n" in figure and ": <1>.png" in figure for figure in figures)
    # There is no checkpoint.
    (message,) = page.locator(".missing").all_inner_texts()
    assert message.startswith("There are no attention maps: ")
    assert "checkpoint" in message


def test_confusion_matrix_of_the_page(hostile, here, browser):
    write_page(hostile)
    page = open_page(browser, here / "out.html")
    rows = page.locator(".matrix tbody tr")
    cells = [rows.nth(i).locator("td").all_inner_texts() for i in range(3)]
    assert cells == [["1", "1", ""], ["", "2", ""], ["1", "", "1"]]
    title = page.locator(".matrix td").nth(1).get_attribute("title")
    first, second, _ = sorted(HOSTILE)
    assert title == f"{first}, taken for {second}: 1 of 2"


def test_print_unfolds_all_details(hostile, here, browser):
    write_page(hostile)
    page = browser.new_page()
    page.goto((here / "out.html").as_uri())
    visible = "[...document.querySelectorAll('details td')].map(e => e.checkVisibility())"
    assert not any(page.evaluate(visible))
    page.emulate_media(media="print")
    assert all(page.evaluate(visible))
    assert page.pdf().startswith(b"%PDF")


MESSAGES = {
    "no predictions": "There is no predictions.npz in ",
    "damaged predictions": "predictions.npz is damaged",
    "no data": "The examples can't be shown: ",
    "fewer data": "The examples can't be shown: the data have changed, 360 are left of 400",
    "a baseline": "A resnet has no latents",
    "no config": "The examples can't be shown: the run has no config.json",
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_missing_part_is_replaced_by_a_message(name, here, capsys):
    data = {"name": "digits", "image_size": 8, "channels": 1, "num_classes": 10}
    if name == "no data":
        data = {"name": "image_folder", "dir": "nowhere", "image_size": 8, "num_classes": 3}
    kind = "resnet" if name == "a baseline" else "perceiver"
    write_finished_run(here / "x", [0.5], data=data, model={"name": kind})
    count = 400 if name == "fewer data" else 360
    predictions.write(here / "x", 1, "eval", one_label(np.arange(count) % 10, np.arange(count) % 9))
    if name == "no config":
        (here / "x" / "config.json").unlink()
    if name == "no predictions":
        (here / "x" / "predictions.npz").unlink()
    if name == "damaged predictions":
        (here / "x" / "predictions.npz").write_bytes(b"PK\x03\x04 no more")
    write_page("x")
    assert capsys.readouterr().err == ""
    content = (here / "out.html").read_text()
    messages = re.findall(r'<p class="missing">(.*?)</p>', content)
    assert any(MESSAGES[name].replace("'", "&#39;") in line for line in messages)
    assert "Top-1 accuracy" in content
    assert ("matrix" in content.partition("</style>")[2]) == ("predictions" not in name)
    with_pictures = name == "a baseline"
    assert ("data:image/" in content) == with_pictures


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_several_runs(width, here, browser, capsys):
    for seed, figures in ((0, [0.95, 0.9]), (1, [0.5, 0.92])):
        write_finished_run(
            here / "s" / f"seed={seed}", figures, model={"width": 8}, train={"seed": seed}
        )
    (here / "lr=0.1" / "eval.json").write_text("[1]")
    write_page("s", "a", "lr=0.1", status=1)
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("page: out.html (")
    assert err.startswith("error: lr=0.1 is left out")
    assert not (here / "report.png").exists()
    page = open_page(browser, here / "out.html", width)
    assert page.title() == "3 runs"
    table = page.locator("table").first
    assert table.locator("tbody th").all_inner_texts() == ["seed=1", "seed=0", "a"]
    assert table.locator("tbody tr").first.locator("td").first.inner_text() == "92.00%"
    assert "91.00% ± 1.41%" in page.locator("body").inner_text()
    assert page.locator(".legend li").all_inner_texts() == ["seed=1", "seed=0", "a"]
    assert page.locator("svg[role=img]").count() == 2  # no run logged a learning rate
    assert page.locator("main > section > details, main details").count() >= 3
    assert "The best of them: seed=1" in page.locator("header").inner_text()


def test_page_of_a_run_without_metrics(here):
    write_config(here / "new")
    write_page("new")
    assert "Nothing is logged yet." in (here / "out.html").read_text()


def test_changed_settings_are_listed(here):
    config = json.loads(digits.get_config("").to_json())
    config["train"]["seed"] = 7
    write_config(here / "x", **config)
    values = json.loads((here / "x" / "config.json").read_text())
    for words in (["--config=configs/digits.py"], ["--config", "/some/where/configs/digits.py:"]):
        values["command"] = ["/x/experiments/train.py", *words]
        (here / "x" / "config.json").write_text(json.dumps(values))
        write_page("x")
        content = (here / "out.html").read_text()
        changed = content.partition("Changed from")[2].partition("<details")[0]
        cells = re.sub("<[^>]*>", " ", changed).split()
        assert cells[-3:] == ["train.seed", "7", "0"]
    # A config is a program, so only configs of the project are run.
    (here / "configs").mkdir()
    (here / "configs" / "mine.py").write_text("raise SystemExit('run')")
    values["command"] = ["/x/experiments/train.py", "--config=configs/mine.py"]
    (here / "x" / "config.json").write_text(json.dumps(values))
    write_page("x")
    assert "It is not known which config" in (here / "out.html").read_text()


def test_only_pages_of_the_report_are_replaced(here, capsys):
    write_page("a")
    first = (here / "out.html").read_bytes()
    assert report.PROGRAM.encode() in first[:1024]
    write_page("a")
    assert (here / "out.html").read_bytes() == first
    (here / "mine.html").write_text("<p>mine")
    user_errors = {
        "--html=mine.html": f"mine.html is there, not made by {report.PROGRAM}",
        "--html=x.png": "--html=x.png is not the name of a page; give one that ends in .html",
        "--html=a/metrics.jsonl/x.html": "can't be written: Not a directory",
    }
    capsys.readouterr()
    for argument, message in user_errors.items():
        assert exit_status(report, ["a", argument]) == 2
        out, err = capsys.readouterr()
        (line,) = err.splitlines()
        assert message in line
        assert out == ""
    assert (here / "mine.html").read_text() == "<p>mine"


def test_page_together_with_other_formats_and_a_picture(here, capsys):
    write_page("a", "--format=json")
    assert json.loads(capsys.readouterr().out)["runs"][0]["run"] == "a"
    assert not (here / "report.png").exists()
    write_page("a", "--output=both.png")
    assert (here / "both.png").read_bytes().startswith(b"\x89PNG")


def test_page_of_a_log_with_nan(here):
    with MetricLog(here / "c", resume_step=0) as log:
        for step in range(1, 5):
            log.write(step, "train", loss=float("nan") if step > 2 else 1.0, learning_rate=0.1)
    write_page("c")
    assert "nan" not in (here / "out.html").read_text().partition("<svg")[2].partition("</svg")[0]


@pytest.mark.slow
def test_page_of_a_real_run(tmp_path, browser):
    """The page shows the accuracy that training printed."""
    out, _ = run("train", *TINY, f"--workdir={tmp_path}/run", "--config.train.seed=3")
    file = tmp_path / "out.html"
    printed, err = run("report", f"{tmp_path}/run", f"--html={file}")
    assert err == ""
    assert f"page: {file} (" in printed
    assert file.stat().st_size < 500_000
    for width in (PHONE, DESKTOP):
        page = open_page(browser, file, width)
        text = page.locator("body").inner_text()
        top1 = re.search(r"reached, at step 12: top-1 ([\d.]+%)", out)[1]
        assert f"It is done, with {top1} top-1 accuracy" in text
        assert page.locator(".missing").count() == 0
        assert page.locator(".maps img").count() == 6  # three examples, two cross-attends
        diagonal = page.evaluate(
            "[...document.querySelectorAll('.matrix tbody tr')]"
            ".map((row, i) => Number(row.querySelectorAll('td')[i].innerText))"
        )
        assert f"{sum(diagonal) / 360:.2%}" == top1
        changed = page.locator("h3:has-text('Changed') + .scroll tbody tr")
        assert "train.seed" in " ".join(changed.all_inner_texts())
