"""Decoding of real and generated files: times of frames and sound, and refused files."""

import io
import math
import struct

import av
import librosa
import numpy as np
import pytest
from PIL import Image

from perceiver.data.clips.preparation.decoding import ClipError, decode
from perceiver.data.clips.schema import SAMPLES_PER_FRAME
from tests.data.clips import media


def pixels(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)))


def grey(clip):
    return np.array([pixels(frame).mean() for frame in clip.frames])


SHIPPED = [
    "anamorphic.mp4",  # 28 frames a second, pixels that are not square
    "bbaf2n.mpg",
    "friday.mp4",
    "mono.mp4",  # sound at 22,050 Hz
    "ntsc.mp4",  # 29.97 frames a second, 3 s
    "slow.mp4",  # 12.5 frames a second, 256 x 144
    "wide.mp4",  # 1280 x 720
]
# Of other people, who give no licence.
OTHERS = sorted([
    "audioset/00W1lcxW-WU_000040.mp4",  # 12.5 frames a second, 256 x 144
    "audioset/3qesirWAGt4_000020.mp4",  # 1280 x 720
    "avsync15/playing_violin/playing_violin.mp4",  # 29.97 frames a second, 3 s
    "no_audio_track/demo.mp4",  # 28 frames a second, pixels that are not square
    "vas/drum/video_02480.mp4",  # sound at 22,050 Hz
    "vggsound/-Qowmc0P9ic_000034.mp4",
])  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_frames_of_real_files_are_those_of_their_times(files, name):
    check_frames(files / "videos" / name)


def test_frames_of_files_of_others_are_those_of_their_times(real_data):
    for name in OTHERS:
        check_frames(real_data / "av" / name)


def check_frames(path):
    clip = decode(str(path), need="any", seconds=10)
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        aspect = float(video.sample_aspect_ratio or 1)
        shown = [(frame.time, frame.to_image()) for frame in container.decode(video)]
        first = shown[0][0]
        lasts = float(video.duration * video.time_base)
    assert abs(len(clip.frames) - min(10, lasts) * 25) <= 1
    for k in (0, 1, 7, len(clip.frames) // 2, len(clip.frames) - 1):
        _, picture = max((t, i) for i, (t, _) in enumerate(shown) if t - first <= k / 25 + 0.002)
        picture = shown[picture][1]
        found = Image.open(io.BytesIO(clip.frames[k]))
        width, height = picture.width * aspect, picture.height
        scale = 256 / min(width, height)
        assert abs(found.width - width * scale) <= 1
        assert abs(found.height - height * scale) <= 1
        assert found.width % 2 == found.height % 2 == 0
        expected = np.asarray(picture.resize(found.size, Image.Resampling.BICUBIC), np.float32)
        assert np.abs(expected - np.asarray(found)).mean() < 2.5


@pytest.mark.parametrize("name", ["001 - Dog bark/1-100032-A.ogg", "002 - Rain/1-17367-A.ogg"])
def test_sound_of_real_files_is_what_librosa_reads(files, name):
    path = files / "sounds" / name
    clip = decode(str(path), need="sound", seconds=10)
    expected, _ = librosa.load(path, sr=48_000, mono=True)
    assert clip.frames == []
    assert clip.sound.dtype == np.int16
    assert abs(len(clip.sound) - len(expected)) <= 2
    length = min(len(clip.sound), len(expected))
    error = clip.sound[:length] / 32768 - expected[:length]
    assert np.square(error).sum() < 1e-6 * np.square(expected).sum()  # 60 dB


def test_sound_that_begins_late_is_silent_until_then(files):
    path = files / "videos/late.mp4"  # its sound begins after 43.2 ms
    clip = decode(str(path), need="both", seconds=10)
    assert len(clip.sound) == 480_000
    assert not clip.sound[:2070].any()
    assert clip.sound[2080:2200].any()


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mpg", "a.mov", "a.avi"])
def test_a_flash_and_a_beep_come_at_their_times(tmp_path, name):
    # In seconds. In the first two the flash is a single frame at 30 frames a second.
    times = np.array([1.0, 2.5, 4.2])
    levels = np.zeros(180, np.uint8)
    levels[np.round(times * 30).astype(int)] = 255
    beep = media.sine(44_100, 6.0, frequency=1000)
    moments = np.arange(beep.shape[1]) / 44_100
    beep *= sum((moments >= t) & (moments < t + 0.05) for t in times)
    codec = {".mpg": ("mp2", "s16"), ".avi": ("libmp3lame", "fltp")}.get(name[1:], ("aac", "fltp"))
    media.write(tmp_path / name, frames=levels, sound=(codec[0], 44_100, codec[1], beep))
    clip = decode(str(tmp_path / name), need="both", seconds=10)
    for time in times:
        frame = time * 25
        near = grey(clip)[math.floor(frame) - 1 : math.ceil(frame) + 2]
        assert near.max() > 150, (time, near)
        window = np.abs(clip.sound[round((time - 0.2) * 48_000) : round((time + 0.2) * 48_000)])
        onset = np.argmax(window > 0.25 * window.max()) - 0.2 * 48_000
        assert abs(onset) < SAMPLES_PER_FRAME, (time, onset)


@pytest.fixture(scope="module")
def staircase(tmp_path_factory):
    """A video of 20 s at 30 frames per second, with one grey level and one tone per second."""
    path = tmp_path_factory.mktemp("staircase") / "video.mp4"
    levels = np.repeat(np.arange(20) * 10 + 20, 30).astype(np.uint8)
    sound = np.concatenate([media.sine(16_000, 1, 200 + 50 * n) for n in range(20)], axis=1)
    media.write(path, frames=levels, sound=("aac", 16_000, "fltp", sound))
    return path


@pytest.mark.parametrize("start", [0.0, 3.04, 12.0])
def test_a_segment_out_of_the_middle(staircase, start):
    clip = decode(str(staircase), need="both", seconds=5, start=start)
    assert len(clip.frames) == 125
    assert len(clip.sound) == 240_000
    assert clip.longer
    second = np.floor(start + np.arange(125) / 25 + 1e-6)
    # The file stores levels in the range 16 to 235; decoding maps them back.
    np.testing.assert_allclose(grey(clip), second * 10 + 20, atol=3)
    for k in range(5):
        begin = math.ceil(start) - start + k  # of a whole second
        if begin + 1 <= 5:
            piece = clip.sound[round(begin * 48_000) :][2000:46_000]
            spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece))))
            peak = np.argmax(spectrum) * 48_000 / len(piece)
            assert abs(peak - (200 + 50 * (start + begin))) < 3


def test_streams_that_are_not_needed_are_left_out(staircase):
    assert decode(str(staircase), need="sound", seconds=1).frames == []
    assert len(decode(str(staircase), need="video", seconds=1).sound) == 0


@pytest.mark.parametrize(
    ("suffix", "codec", "rate", "kind", "layout", "channels"),
    [
        (".wav", "pcm_u8", 8_000, "u8", "mono", 1),
        (".wav", "pcm_s16le", 44_100, "s16", "stereo", 2),
        (".wav", "pcm_s32le", 96_000, "s32", "stereo", 2),
        (".wav", "pcm_f32le", 22_050, "flt", "5.1", 6),
        (".flac", "flac", 48_000, "s16", "5.1", 6),
        (".mp3", "libmp3lame", 44_100, "s16p", "stereo", 2),
        (".m4a", "aac", 8_000, "fltp", "mono", 1),
        (".ogg", "libopus", 48_000, "flt", "stereo", 2),
        (".mp4", "aac", 48_000, "fltp", "5.1", 6),
    ],
)
def test_all_formats_of_sound(tmp_path, suffix, codec, rate, kind, layout, channels):
    path = tmp_path / f"sound{suffix}"
    samples = media.sine(rate, 2.0, channels=channels)
    if channels == 6:
        samples[3] = 0  # the low-frequency channel has no part in a downmix
    media.write(path, sound=(codec, rate, kind, samples), layout=layout)
    clip = decode(str(path), need="any", seconds=10)
    assert clip.frames == []
    assert abs(len(clip.sound) / 48_000 - 2) < 0.1
    middle = clip.sound[24_000:72_000] / 32768
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 440
    # A downmix of equal channels equals one channel.
    np.testing.assert_allclose(np.sqrt(2) * middle.std(), 0.5, rtol=0.06)


def test_format_is_detected_from_the_content(files, tmp_path):
    path = files / "videos/mono.mp4"
    wrong = tmp_path / "-dog; echo '$HOME'.wav"
    wrong.write_bytes(path.read_bytes())
    assert decode(str(wrong), need="both", seconds=10).frames == (
        decode(str(path), need="both", seconds=10).frames
    )
    assert len(decode(f"file://{wrong}", need="both", seconds=10).frames) == 125


def test_a_rotated_video_is_turned_upright(tmp_path):
    path = tmp_path / "phone.mp4"
    media.write(path, frames=[90] * 30)
    content = bytearray(path.read_bytes())
    # The matrix of the track's header, as QuickTime defines it: a quarter turn clockwise.
    begin = content.index(b"tkhd") + 4 + 40
    content[begin : begin + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    assert pixels(decode(str(path), need="video", seconds=1).frames[0]).shape == (342, 256, 3)


def test_a_quarter_turn_goes_clockwise(tmp_path):
    path = tmp_path / "phone.mp4"
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:32, :48] = 255  # the upper left corner
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        for _ in range(5):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(video.encode(None))
    content = bytearray(path.read_bytes())
    begin = content.index(b"tkhd") + 4 + 40
    content[begin : begin + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    upright = pixels(decode(str(path), need="video", seconds=1).frames[0])
    assert upright[60, 190].min() > 230  # now the upper right one
    assert upright[60, 60].max() < 25
    assert upright[300, 190].max() < 25


def bad_files(folder, files):
    video = (files / "videos/friday.mp4").read_bytes()
    (folder / "empty").write_bytes(b"")
    (folder / "text").write_text("not a video\n" * 100)
    Image.new("RGB", (99, 99)).save(folder / "picture", "jpeg")
    (folder / "list").write_text("#EXTM3U\n#EXTINF:10,\nhttp://localhost:9/x.ts\n#EXT-X-ENDLIST\n")
    (folder / "codec").write_bytes(video.replace(b"avc1", b"zzzz"))
    (folder / "headless").write_bytes(video[len(video) // 2 :])
    media.write(folder / "whole.mp4", frames=[9] * 300, options={"movflags": "faststart"},
                sound=("aac", 48_000, "fltp", media.sine(48_000, 10.0)))  # fmt: skip
    whole = (folder / "whole.mp4").read_bytes()
    (folder / "short.mp4").write_bytes(whole[: len(whole) // 2])
    media.write(folder / "whole.wav", sound=("pcm_s16le", 8000, "s16", media.sine(8000, 1.0)))
    media.write(folder / "whole.flac", sound=("flac", 8000, "s16", media.sine(8000, 10.0)))
    whole = (folder / "whole.flac").read_bytes()
    (folder / "short.flac").write_bytes(whole[: len(whole) // 2])
    start = video.index(b"mdat") + 100
    noise = np.random.default_rng(0).bytes(len(video) - start)
    moov = video.index(b"moov")
    assert moov != -1
    if moov < start:
        (folder / "noise.mp4").write_bytes(video[:start] + noise)
    else:
        (folder / "noise.mp4").write_bytes(
            video[:start] + noise[: moov - 4 - start] + video[moov - 4 :]
        )


@pytest.mark.parametrize(
    ("name", "need", "reason"),
    [
        ("absent", "any", "cannot be read"),
        ("empty", "any", "empty file"),
        ("text", "any", "not a whole"),
        ("picture", "any", "not a whole"),
        ("list", "any", "not a whole"),
        ("headless", "any", "not a whole"),
        ("codec", "any", "no decoder: FFmpeg does not know the format of its video"),
        ("short.mp4", "any", r"cut short: it should last until 10.0 s but ends at 4\.\d s"),
        ("short.flac", "any", r"cut short: it should last until 10.0 s but ends at [45]\.\d s"),
        ("noise.mp4", "any", "damaged"),
        ("whole.wav", "video", "no video"),
        ("whole.wav", "both", "no video"),
    ],
)
def test_message_says_why_a_file_gives_no_clip(tmp_path, files, name, need, reason):
    bad_files(tmp_path, files)
    with pytest.raises(ClipError, match=reason):
        decode(str(tmp_path / name), need=need, seconds=10)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_stream_that_is_not_needed_may_last_longer(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    sound = ("aac", 44_100, "fltp", media.sine(44_100, 8.0))
    media.write(path, frames=[50] * 250, rate=25, sound=sound)
    assert abs(len(decode(str(path), need="sound", seconds=10).sound) / 48_000 - 8) < 0.1
    media.write(path, frames=[50] * 100, rate=25, sound=sound)
    assert len(decode(str(path), need="video", seconds=10).frames) in (100, 101)


@pytest.mark.parametrize("need", ["sound", "video"])
def test_truncated_file_is_detected_whichever_stream_is_needed(tmp_path, need):
    path = tmp_path / "clip.mp4"
    sound = ("aac", 44_100, "fltp", media.sine(44_100, 8.0))
    options = {"movflags": "faststart"}
    media.write(path, frames=[50] * 200, rate=25, sound=sound, options=options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ClipError, match=r"cut short: it should last until 8\.0 s but ends at [34]"):
        decode(str(path), need=need, seconds=10)


@pytest.mark.parametrize(
    ("suffix", "codec", "kind"),
    [
        *((".wav", "pcm_s16le", "s16"), (".ogg", "libopus", "flt"), (".mp3", "libmp3lame", "s16p")),
        *((".flac", "flac", "s16"), (".m4a", "aac", "fltp")),
    ],
)
def test_longer_file_is_detected_in_every_format(tmp_path, suffix, codec, kind):
    path = tmp_path / f"sound{suffix}"
    media.write(path, sound=(codec, 48_000, kind, media.sine(48_000, 4.0)))
    assert decode(str(path), need="sound", seconds=2).longer
    assert not decode(str(path), need="sound", seconds=4).longer


@pytest.mark.parametrize("need", ["sound", "both"])
def test_clip_without_needed_sound_is_refused(files, need):
    path = str(files / "videos/anamorphic.mp4")
    with pytest.raises(ClipError, match="no sound"):
        decode(path, need=need, seconds=10)
    assert len(decode(path, need="any", seconds=10).sound) == 0


def test_a_segment_after_the_end(staircase):
    with pytest.raises(ClipError, match=r"ends too early: at 20.\d s, the clip would begin at 25"):
        decode(str(staircase), need="both", seconds=5, start=25.0)
