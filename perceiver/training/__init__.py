"""Training: durations, schedules, optimisers, losses, checkpoints, logs, progress and curves.

Nothing here knows the model, the data pipelines or a config: functions take named arguments and
trees of arrays.
"""
