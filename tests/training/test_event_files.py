"""Times of a run, of events written at times that are known."""

import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from perceiver.training.logging.events import Speed, read_speed
from perceiver.training.logging.metrics import MetricLog


def write(path, *events):
    """Writes events (wall time, seconds a step)."""
    writer = RecordWriter(str(path))
    for wall_time, seconds in events:
        value = Summary.Value(tag="speed/seconds_per_step", simple_value=seconds)
        writer.write(Event(wall_time=wall_time, summary=Summary(value=[value])).SerializeToString())
    writer.close()


def test_the_time_of_restarts_is_summed_and_between_them_is_none(tmp_path):
    write(tmp_path / "events.out.tfevents.1", (1000, 8.0), (1010, 1.0), (1030, 2.0))
    write(tmp_path / "events.out.tfevents.2", (9000, 4.0), (9005, 3.0))
    assert read_speed(tmp_path) == Speed(seconds=35.0, seconds_per_step=3.0)


def test_what_training_logs_is_read(tmp_path):
    with MetricLog(tmp_path, resume_step=0) as log:
        log.write(1, "train", loss=9.0)
        log.write_speed(2, seconds_per_step=0.25, data_wait=0.5)
    speed = read_speed(tmp_path)
    assert speed.seconds_per_step == 0.25
    assert 0 <= speed.seconds < 60


@pytest.mark.parametrize("cut", range(1, 50, 7))
def test_an_event_cut_short_is_left_aside(tmp_path, cut):
    file = tmp_path / "events.out.tfevents.1"
    write(file, (1000, 0.5), (1010, 0.5))
    whole = file.read_bytes()
    write(file, (1000, 0.5), (1010, 0.5), (1900, 7.0))
    assert len(file.read_bytes()) > len(whole) + 49
    file.write_bytes(file.read_bytes()[: len(whole) + cut])
    assert read_speed(tmp_path) == Speed(10.0, 0.5)


@pytest.mark.parametrize("damage", [b"\0" * 64, b"\xff" * 64])
def test_what_follows_damage_is_left_aside(tmp_path, damage):
    file = tmp_path / "events.out.tfevents.1"
    write(file, (1000, 0.5), (1010, 0.5))
    file.write_bytes(file.read_bytes() + damage)
    assert read_speed(tmp_path) == Speed(10.0, 0.5)


def test_a_byte_that_flipped_is_no_figure(tmp_path):
    file = tmp_path / "events.out.tfevents.1"
    write(file, (1000, 0.5), (1010, 0.25))
    data = bytearray(file.read_bytes())
    data[-6] ^= 0x40  # in the last figure
    file.write_bytes(data)
    assert read_speed(tmp_path) == Speed(None, 0.5)


def test_no_events(tmp_path):
    assert read_speed(tmp_path) == Speed(None, None)
