"""Saves and restores checkpoints of a run: written in the background, verified when read."""

from perceiver.training.checkpoints.checkpointer import (
    CheckpointError,
    Checkpoints,
    MissingCheckpointError,
)

__all__ = ["CheckpointError", "Checkpoints", "MissingCheckpointError"]
