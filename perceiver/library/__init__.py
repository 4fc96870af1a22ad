"""The Perceiver from Python: build one by name, load a trained one, use what it has learned.

    from perceiver import library

    classifier = library.load("runs/digits")
    probabilities = classifier.probabilities(images)  # [B, classes]
    features = classifier.latents(images).mean(axis=1)  # [B, D]

Needs neither TensorFlow nor ml_collections; see docs/library.md.
"""

from perceiver.errors import InputError
from perceiver.library.classifier import Classifier
from perceiver.library.named import build, names
from perceiver.library.runs import load

__all__ = ["Classifier", "InputError", "build", "load", "names"]
