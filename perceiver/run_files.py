"""Names of the files in a run's folder, the value of --workdir."""

CONFIG = "config.json"  # config, command, versions, devices, git revision, class names
METRICS = "metrics.jsonl"  # one JSON object per log step
TIMING = "timing.jsonl"  # one JSON object per log step: speed and time
CURVES = "curves.png"
CHECKPOINTS = "checkpoints"  # a folder with one subfolder per checkpoint
RESULT = "eval.json"
PREDICTIONS = "predictions.npz"
LOCK = "lock"  # held while the run trains
EVENTS = "events"  # the prefix of TensorBoard's event files
