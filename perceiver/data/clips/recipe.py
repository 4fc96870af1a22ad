"""Turns the record of a clip into inputs of a network, with the recipe of Sec. 4.2.

Training takes a random window and augments it. Evaluation takes windows evenly spaced over the
clip. All modalities share the window: sound, spectrogram and frames are in step.
"""

import dataclasses
from collections.abc import Callable

from perceiver.data.clips import mel, spec_augment, video, windows
from perceiver.data.clips.schema import SAMPLES_PER_FRAME
from perceiver.data.dataset import Features
from perceiver.data.images import pictures
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError
from perceiver.names import unknown

MODALITIES = ("audio", "spectrogram", "video")


@dataclasses.dataclass(frozen=True)
class ClipRecipe:
    """Options of the pre-processing and augmentation of clips.

    The paper gives no strengths for its colour augmentation and SpecAugment; 0 disables them.

    Attributes:
      modalities: names of the inputs, from MODALITIES.
      clip_frames: T, length of a window in frames, at 25 frames per second.
      eval_windows: W, number of evaluation windows per clip.
      image_size: S, side of the resized frames.
      crop_area: range of the area of a training crop as a share of the frame, within (0, 1].
      crop_aspect: range of the ratio of width to height of a training crop.
      flip: True to mirror half of the training clips left to right.
      brightness: strength of the brightness augmentation, see `video.random_colour`; 0 for none.
      contrast: strength of the contrast augmentation; 0 for none.
      saturation: strength of the saturation augmentation; 0 for none.
      hue: strength of the hue augmentation, at most 0.5; 0 for none.
      mel_frame: number of samples per window of the spectrogram.
      mel_hop: number of samples from one window to the next.
      mel_bins: number of mel bins.
      mel_low: lower edge of the first bin, in Hz.
      mel_high: upper edge of the last bin, in Hz.
      mel_offset: value added before the logarithm.
      spec_time_masks: number of time masks of SpecAugment; 0 for none.
      spec_time_width: largest width of a time mask, in cells of the spectrogram.
      spec_frequency_masks: number of frequency masks of SpecAugment; 0 for none.
      spec_frequency_width: largest width of a frequency mask, in cells of the spectrogram.

    Raises:
      InputError: a value is invalid.
    """

    modalities: tuple[str, ...]
    clip_frames: int = 32
    eval_windows: int = 16
    image_size: int = 224
    crop_area: tuple[float, float] = (0.08, 1.0)
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    mel_frame: int = 2048
    mel_hop: int = 1024
    mel_bins: int = 80
    mel_low: float = 80.0
    mel_high: float = 7600.0
    mel_offset: float = 1e-6
    spec_time_masks: int = 0
    spec_time_width: int = 0
    spec_frequency_masks: int = 0
    spec_frequency_width: int = 0

    def __post_init__(self):
        if not self.modalities:
            raise InputError(f"modalities is empty: give some of {', '.join(MODALITIES)}")
        for modality in self.modalities:
            if modality not in MODALITIES:
                raise InputError(unknown(modality, MODALITIES, what="modality"))
        for name in ("clip_frames", "eval_windows"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give at least 1")
        video.check(
            image_size=self.image_size,
            crop_area=self.crop_area,
            crop_aspect=self.crop_aspect,
            **self._colours,
        )
        self._log_mel()  # raises an InputError for invalid settings
        num_times = -(-self.clip_frames * SAMPLES_PER_FRAME // self.mel_hop)
        spec_augment.check(num_times, self.mel_bins, **self._masks)

    def reader(self) -> Callable[[Features, tf.Tensor | None], Features]:
        """Makes the function that turns clips into inputs.

        Returns:
          (clip, seed) -> inputs, a function for a tf.data graph. `clip` has 'frames' and 'sound'
          from `schema.parse`. With a seed, int32 [2], the inputs are one training window, drawn
          and augmented with the seed; with None they have a leading axis of W windows. They are the
          ones in `modalities`: 'audio', int16 [1920 T]; 'spectrogram', float16
          [ceil(1920 T / hop), bins]; 'video', uint8 [T, S, S, 3]. A clip without the sound or the
          frames that an input needs fails with tf.errors.InvalidArgumentError.
        """
        log_mel = self._log_mel()

        def read(clip: Features, seed: tf.Tensor | None) -> Features:
            clip = self._require_streams(clip)
            length = windows.clip_length(clip["frames"], clip["sound"])
            if seed is None:
                starts = windows.even_starts(length, self.clip_frames, self.eval_windows)
                spectrogram_seed = video_seed = None
            else:
                # Separate seeds, so that one option does not change the draws of another.
                seeds = tf.unstack(tf.random.split(seed, 3))
                window_seed, spectrogram_seed, video_seed = seeds
                starts = windows.random_start(length, self.clip_frames, window_seed)
            numbers = windows.frame_numbers(starts, length, self.clip_frames)

            inputs = {}
            if "audio" in self.modalities or "spectrogram" in self.modalities:
                sound = windows.sound_of_frames(clip["sound"], numbers, length)
                if "audio" in self.modalities:
                    inputs["audio"] = sound
                if "spectrogram" in self.modalities:
                    spectrogram = log_mel(sound)
                    if seed is not None and (self.spec_time_masks or self.spec_frequency_masks):
                        spectrogram = spec_augment.spec_augment(
                            spectrogram, spectrogram_seed, **self._masks
                        )
                    inputs["spectrogram"] = tf.cast(spectrogram, tf.float16)
            if "video" in self.modalities:
                inputs["video"] = self._video(clip["frames"], numbers, video_seed)
            return inputs

        return read

    def _require_streams(self, clip: Features) -> Features:
        """Returns the clip, after a check that it has the streams that the inputs need."""
        checks = []
        for stream, inputs in (("frames", ("video",)), ("sound", ("audio", "spectrogram"))):
            if needing := [modality for modality in inputs if modality in self.modalities]:
                message = f"the clip has no {stream}, which {needing[0]!r} needs"
                checks.append(tf.debugging.assert_positive(tf.size(clip[stream]), message=message))
        with tf.control_dependencies(checks):
            return {stream: tf.identity(clip[stream]) for stream in ("frames", "sound")}

    def _video(self, frames: tf.Tensor, numbers: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        if seed is None:
            return video.read_frames(frames, numbers, pictures.central_window, self.image_size)
        crop_seed, flip_seed, colour_seed = tf.unstack(tf.random.split(seed, 3))
        clip = video.read_frames(
            frames,
            numbers,
            lambda shape: pictures.random_window(
                shape, crop_seed, self.crop_area, self.crop_aspect
            ),
            self.image_size,
        )
        if self.flip:
            clip = video.random_flip(clip, flip_seed)
        if any(self._colours.values()):
            clip = video.random_colour(clip, colour_seed, **self._colours)
        return clip

    @property
    def _colours(self) -> dict[str, float]:
        return {
            "brightness": self.brightness,
            "contrast": self.contrast,
            "saturation": self.saturation,
            "hue": self.hue,
        }

    def _log_mel(self) -> Callable[[tf.Tensor], tf.Tensor]:
        return mel.log_mel(
            frame=self.mel_frame,
            hop=self.mel_hop,
            bins=self.mel_bins,
            low=self.mel_low,
            high=self.mel_high,
            offset=self.mel_offset,
        )

    @property
    def _masks(self) -> dict[str, int]:
        return {
            "time_masks": self.spec_time_masks,
            "time_width": self.spec_time_width,
            "frequency_masks": self.spec_frequency_masks,
            "frequency_width": self.spec_frequency_width,
        }
