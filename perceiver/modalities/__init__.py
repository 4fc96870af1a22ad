"""The modalities, one file each: functions from the arrays of a batch to content and positions.

To add one, write a file in this folder and add a row to the table; see docs/new_modality.md.
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
