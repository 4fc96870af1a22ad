"""A quick stand-in for experiments.train with the same flags, files and exit statuses.

--config.train.act selects what it does: 'train', 'fail' (status 1), 'fail_once', 'refuse'
(status 2), 'stop_once' (status 75), 'die_once' (SIGKILL) or 'wait' for a signal.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

KEYS = {
    "model.num_latents": 4,
    "model.dtype": "float32",
    "optimizer.learning_rate": 0.01,
    "train.act": "train",
    "train.seed": 0,
}
values, rest = dict(KEYS), {}
for word in sys.argv[1:]:
    name, _, value = word.removeprefix("--").partition("=")
    key = name.removeprefix("config.")
    if key in KEYS:
        try:
            values[key] = type(KEYS[key])(value)
        except ValueError:
            sys.exit(print(f"error: flag {word}: no number", file=sys.stderr) or 2)
    elif key != name:
        sys.exit(print(f"error: unknown config key '{key}'", file=sys.stderr) or 2)
    else:
        rest[name] = value
if "help" in rest:
    sys.exit(1)  # like absl

workdir = Path(rest["workdir"])
workdir.mkdir(parents=True, exist_ok=True)
with (workdir / "tries").open("a") as file:
    print(time.time(), os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES"), file=file)
first = (workdir / "tries").read_text().count("\n") == 1
act, once, _ = values["train.act"].partition("_once")
if once and not first:
    act = "train"
if act == "refuse":
    sys.exit(print("error: no data there", file=sys.stderr) or 2)
config = {}
for key, value in values.items():
    config.setdefault(key.split(".")[0], {})[key.split(".")[1]] = value
(workdir / "config.json").write_text(json.dumps({"command": sys.argv, "config": config}))


def saved(*_):
    print("step 1 is saved; run again to go on", flush=True)
    sys.exit(75)


signal.signal(signal.SIGTERM, saved)
with (workdir / "metrics.jsonl").open("w") as file:
    print(json.dumps({"step": 1, "split": "train", "loss": 2.5}), file=file)
    print(json.dumps({"step": 1, "split": "eval", "loss": 2.25, "top1": 0.125}), file=file)
print("step 1/4  loss 2.5", file=sys.stderr, flush=True)
if act == "fail":
    sys.exit(print("error: the loss is nan at step 1", file=sys.stderr) or 1)
if act == "stop":
    saved()
if act == "die":
    os.kill(os.getpid(), signal.SIGKILL)
while act == "wait" and not (workdir.parent / "go on").exists():
    time.sleep(0.02)
time.sleep(0.3)
result = {"step": 4, "loss": 1 / values["model.num_latents"], "num_examples": 9}
result["top1"] = 1 - 1 / values["model.num_latents"]
(workdir / "eval.json").write_text(json.dumps(result))
