"""Page faults of a step, measured in real processes."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from perceiver.training.host_memory import keep_freed_memory

ROOT = Path(__file__).parents[2]

# 8 layers, whose backward pass has about 60 MB of temporaries. The heap grows in a step whose
# threads interleave in a new way, on a busy machine in up to 4 of 30 steps, so the median is used.
PROGRAM = """
import resource, statistics, sys
from perceiver.training.host_memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
import jax, jax.numpy as jnp

def loss(x):
    y = x
    for _ in range(8):
        y = jnp.tanh(y @ x[:256])
    return y.sum()

step = jax.jit(jax.grad(loss))
x = jnp.ones([4096, 256]) / 256
faults = []
for _ in range(40):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    jax.block_until_ready(step(x))
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(int(statistics.median(faults[10:])))
"""


def environment():
    chosen = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(chosen)}
    return kept | {"JAX_PLATFORMS": "cpu"}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_step_does_not_fault_in_pages_of_earlier_steps():
    faults = {
        mode: int(
            subprocess.run(
                [sys.executable, "-c", PROGRAM, mode],
                cwd=ROOT,
                env=environment(),
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
        )
        for mode in ("kept", "default")
    }
    assert faults["default"] > 5000  # 20 MB in pages of 4 KB; otherwise the test shows nothing
    assert faults["kept"] < 0.02 * faults["default"]


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD"])
def test_settings_of_the_user_are_kept(name):
    assert not keep_freed_memory({"PATH": "/bin", name: "1"})
