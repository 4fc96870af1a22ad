"""The display of a sweep in a pseudo-terminal of 24 rows and 80 columns."""

import fcntl
import os
import pty
import re
import struct
import termios

import pytest

from launch.sweep.display import newest_metrics, table_lines
from launch.sweep.points import Point
from launch.sweep.processes import RUNNING, PointProcess
from tests.launch.sweeps import checkout, start, write
from tests.processes import wait_for


def screen(written):
    """Returns the lines on a terminal, for the control codes that the table uses."""
    lines, row, column = [""], 0, 0
    for part in re.split(r"(\x1b\[\d*[A-Z]|\r?\n)", written):
        if part.endswith("\n"):
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif part.endswith("F") and part.startswith("\x1b"):
            row, column = row - int(part[2:-1]), 0
            assert row >= 0
        elif part == "\x1b[K":
            lines[row] = lines[row][:column]
        elif part == "\x1b[J":
            lines[row:] = [lines[row][:column]]
        elif part:
            lines[row] = lines[row][:column] + part + lines[row][column + len(part) :]
            column += len(part)
    return lines


def test_a_table_is_redrawn_in_place(tmp_path):
    root = checkout(tmp_path / "checkout")
    points = {"a": {"train.act": "fail"}, "b" * 30: {"train.act": "wait"}, "c": {}}
    file = write(tmp_path / "sweep.json", points)
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    arguments = (f"--sweep={file}", f"--workdir={tmp_path}/runs", "--retries=0")
    process = start(*arguments, root=root, stdout=inside)
    os.close(inside)
    written = ""

    def shown():
        nonlocal written
        written += os.read(terminal, 4096).decode()
        return screen(written)

    wait_for(lambda: any(re.search("b  running .* 1/4 ", line) for line in shown()))
    lines = shown()
    assert lines[:3] == [
        "3 points: 1 running, 1 failed, 1 waiting",
        f"{'point':27}  state              step  loss    metric       time",
        f"{'a':27}  failed (status 1)  1/4   2.5000  12.50% top1  {lines[2][-4:]}",
    ]
    assert re.fullmatch(r"0:\d\d", lines[2][-4:])
    assert lines[3].startswith("bbbbbbbbbbbb...bbbbbbbbbbbb  running ")
    (tmp_path / "runs" / "go on").touch()
    while True:
        try:
            shown()
        except OSError:  # on Linux: the other end is closed
            break
    process.communicate()
    lines = screen(written)
    assert lines[0] == "3 points: 1 failed, 2 done"
    assert re.fullmatch(r"c +done +4 +0.2500 +75.00% top1 +0:\d\d", lines[4])
    assert sum(line.startswith("a  ") for line in lines) == 1
    assert all(len(line) < 80 for line in lines[:5])


@pytest.fixture
def run(tmp_path):
    return PointProcess(Point(0, "a", {}), tmp_path, [], state=RUNNING)


def test_an_incomplete_line_is_left_out(run, tmp_path):
    lines = [
        '{"step": 5, "split": "train", "loss": 2.0}',
        '{"step": 5, "split": "eval", "mAP": 0.5, "loss": 9.0}',
        '{"step": 10, "split": "train", "loss": null}',
        '{"step": 15, "split": "tr',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    (tmp_path / "output.log").write_text("step 5/90  loss\nstep 10/90  loss\n")
    found = newest_metrics(run)
    assert str(found.pop("loss")) == "nan"
    assert found == {"step": 10, "mAP": 0.5, "last": 90}


def test_running_points_are_shown_first_of_many(tmp_path):
    runs = [PointProcess(Point(n, f"p{n}", {}), tmp_path, []) for n in range(1000)]
    runs[700].state = RUNNING
    lines = table_lines(runs, most=20, width=99)
    assert len(lines) == 20
    assert lines[0] == "1000 points: 1 running, 999 waiting"
    assert lines[-2].startswith("p700")
    assert lines[-1] == "and 983 more"
