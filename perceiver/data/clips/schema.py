"""The record of one clip: its TFDS features, and functions that write and parse it.

A prepared data set is a plain TFDS data set of TFRecord files with one `tf.train.Example` per clip,
which `tfds.builder_from_directory` opens. Sec. 4.2 takes 32-frame windows out of 10-second clips,
at 25 frames per second and with sound at 48 kHz, so one frame lasts exactly 1,920 samples. Frames
are stored as JPEG, so that a window is read without decoding the rest of the clip.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

from perceiver.data.tensorflow_cpu import tf

FRAME_RATE = 25  # frames per second
SAMPLE_RATE = 48_000  # samples per second, one channel
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE
SHORT_SIDE = 256  # pixels


def features(class_names: Sequence[str]) -> tfds.features.FeaturesDict:
    """Returns the TFDS features of a clip.

    'id' is unique: `<video>_<start in seconds>` in AudioSet, the path below the root in a folder of
    clips. 'start_seconds' is the start of the clip in its video. 'frames' and 'sound' begin at the
    same time; each is empty if the clip has none.
    """
    return tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "start_seconds": tfds.features.Scalar(np.float32),
            "labels": tfds.features.Sequence(tfds.features.ClassLabel(names=list(class_names))),
            "frames": tfds.features.Sequence(
                tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
            ),
            "sound": tfds.features.Tensor(
                shape=(None,), dtype=np.int16, encoding=tfds.features.Encoding.BYTES
            ),
        }
    )


def serialize(
    id: str,
    start_seconds: float,
    labels: Sequence[int],
    frames: Sequence[bytes],
    sound: np.ndarray,
) -> bytes:
    """Returns the record of a clip; the same clip always gives the same bytes.

    Args:
      id: name of the clip.
      start_seconds: start of the clip in its video, in seconds.
      labels: indices of its classes.
      frames: JPEG files, 25 per second.
      sound: int16 [samples] at 48 kHz.
    """
    name = id.encode(errors="surrogateescape")  # a file name can contain any bytes
    feature = {
        "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[name])),
        "start_seconds": tf.train.Feature(float_list=tf.train.FloatList(value=[start_seconds])),
        "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=labels)),
        "frames": tf.train.Feature(bytes_list=tf.train.BytesList(value=frames)),
        "sound": tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[sound.astype("<i2").tobytes()])
        ),
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString(deterministic=True)


def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses a record in a tf.data graph, without decoding any frame.

    Args:
      serialized: string [], a record that `serialize` returned.

    Returns:
      'labels': int64 [n]; 'frames': string [F], JPEG files; 'sound': int16 [samples].
    """
    example = tf.io.parse_single_example(
        serialized,
        {
            "labels": tf.io.RaggedFeature(tf.int64),
            "frames": tf.io.RaggedFeature(tf.string),
            "sound": tf.io.FixedLenFeature([], tf.string),
        },
    )
    return {
        "labels": example["labels"],
        "frames": example["frames"],
        "sound": tf.io.decode_raw(example["sound"], tf.int16),
    }
