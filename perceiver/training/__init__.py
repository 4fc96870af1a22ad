"""Training: durations, schedules, optimisers, losses, checkpoints, logs, progress and curves.

Nothing here depends on the model, the data pipelines or a config: functions take named arguments
and trees of arrays.
"""
