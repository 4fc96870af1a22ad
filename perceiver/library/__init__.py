"""Builds Perceivers by name, loads trained ones, and applies them to arrays.

    from perceiver import library

    classifier = library.load("runs/digits")
    probabilities = classifier.probabilities(images)  # [B, classes]
    features = classifier.latents(images).mean(axis=1)  # [B, D]

Works without TensorFlow and ml_collections; see docs/library.md.
"""

from perceiver.errors import InputError
from perceiver.library.classifier import Classifier
from perceiver.library.named import build, names
from perceiver.library.runs import load

__all__ = ["Classifier", "InputError", "build", "load", "names"]
