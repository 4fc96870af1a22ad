"""The modalities, a file each: from the arrays of a data set to content and positions.

A new one is a file beside these and a row in the table; docs/new_modality.md shows one.
"""

from perceiver.modalities.audio import AUDIO
from perceiver.modalities.image import IMAGE
from perceiver.modalities.points import POINTS
from perceiver.modalities.spectrogram import SPECTROGRAM
from perceiver.modalities.video import VIDEO

MODALITIES = {
    "image": IMAGE,
    "points": POINTS,
    "audio": AUDIO,
    "spectrogram": SPECTROGRAM,
    "video": VIDEO,
}
