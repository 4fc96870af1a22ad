"""Mapping over the devices of one and of two processes."""

import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from perceiver.training.parallel import AXIS, DataParallel

ROOT = Path(__file__).parents[2]

# Each device sums its part; the result is the mean over all devices.
PROGRAM = """
import sys
import jax
import numpy as np
from perceiver.training.parallel import AXIS, DataParallel

index, count, address = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if count > 1:
    jax.distributed.initialize(address, count, index)
devices = DataParallel()
assert devices.num_devices == 4 // count, devices.num_devices
batch = np.arange(8.0).reshape(8, 1)[index * 8 // count : (index + 1) * 8 // count]
scale = devices.replicate({"scale": np.float32(3)})
step = devices.map(lambda s, x: jax.lax.pmean(s["scale"] * x.sum(), AXIS))
out = devices.first(step(scale, devices.shard(batch)))
print("mean", float(out))
"""


def free_address():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}"


def on_four_devices(program, count):
    """Starts a program in `count` processes; its arguments are index, count and an address."""
    address = free_address()
    return [
        subprocess.Popen(
            [sys.executable, "-c", program, str(i), str(count), address],
            cwd=ROOT,
            env={
                "PATH": "/usr/bin:/bin",
                "JAX_PLATFORMS": "cpu",
                "XLA_FLAGS": f"--xla_force_host_platform_device_count={4 // count}",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_the_mean_is_over_the_devices_of_all_processes(count):
    processes = on_four_devices(PROGRAM, count)
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert "mean 21.0" in out, err  # 3 (0 + ... + 7) / 4


def test_shard_and_first_are_inverse_up_to_the_first_device():
    devices = DataParallel()
    batch = np.arange(6 * devices.num_devices).reshape(-1, 3)
    sharded = devices.shard({"x": batch})
    assert sharded["x"].shape == (devices.num_devices, 2, 3)
    out = devices.first(devices.map(lambda x: x)(sharded))
    np.testing.assert_array_equal(out["x"], batch[:2])


def test_batch_that_is_not_divisible_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    with pytest.raises(ValueError, match="batch of 6 is not divisible among 4 devices"):
        DataParallel().shard(np.zeros([6, 2]))


def test_result_of_first_is_not_overwritten_by_the_next_step():
    """The state is donated, as in training."""
    devices = DataParallel()
    step = devices.map(lambda x: jax.lax.pmean(x + 1, AXIS), donate=(0,))
    state = step(devices.replicate(np.zeros(1000, np.float32)))
    saved = devices.first(state)
    for _ in range(5):
        state = step(state)
    np.testing.assert_array_equal(saved, 1)
