"""Every config and variant, found by looking, at full size by shape; and the paper's recipes."""

import functools

import jax
import pytest

from experiments import build, networks
from experiments.command_line import all_configs, config_files
from perceiver.costs import total
from tests.experiments.processes import ROOT

CONFIGS = dict(all_configs())


def test_configs_are_found():
    """As many as there are files with a get_config, and none that imports more than it may."""
    assert {f.name for f in config_files()} == {
        f.name for f in (ROOT / "configs").glob("*.py") if "def get_config(" in f.read_text()
    }
    assert len(CONFIGS) >= 5


@pytest.mark.parametrize("name", CONFIGS)
def test_network_at_full_size(name):
    """It builds, and has as many parameters as the formula says."""
    config = CONFIGS[name]
    classes, batch = config.data.num_classes, networks.batch_spec(config, 2)
    network = networks.network(config, classes)
    variables = jax.eval_shape(functools.partial(networks.initial_variables, network, config))
    counted = sum(x.size for x in jax.tree.leaves(variables.params))
    assert counted == total(networks.costs(config, classes)).parameters
    logits = jax.eval_shape(networks.predictor(network), variables, batch)
    assert logits.shape == (2, classes)


@pytest.mark.parametrize("name", CONFIGS)
def test_header_says_how_to_run_it(name):
    header = (ROOT / name.split(":")[0]).read_text().split('"""')[1]
    assert f"--config={name.split(':')[0]}" in header
    assert "python -m experiments.train" in header


def test_imagenet_is_the_papers_recipe():
    """Sec. 4.1: 120 epochs, 0.004, divided by 10 at epochs 84, 102 and 114."""
    config = CONFIGS["configs/imagenet.py"]
    assert total(networks.costs(config, 1000)).parameters == 44_912_254
    _, schedule = build.optimizer(config, 1_281_167)
    assert build.total_steps(config, 1_281_167) == 150_137
    steps_per_epoch = 1_281_167 / 1024
    for epoch, rate in [(0, 4e-3), (83.9, 4e-3), (84.1, 4e-4), (102.1, 4e-5), (114.1, 4e-6)]:
        assert float(schedule(round(epoch * steps_per_epoch))) == pytest.approx(rate, rel=1e-5)


def test_modelnet40_is_the_papers_recipe():
    """Sec. 4.3: 2 cross-attends, 6 self-attends a tower, batch 512, 50,000 steps of 0.001."""
    config = CONFIGS["configs/modelnet40.py"]
    assert (config.train.batch_size, build.total_steps(config, 9843)) == (512, 50_000)
    costs = {cost.part: cost for cost in networks.costs(config, 40)}
    assert costs["cross-attends"].applied == 2
    assert costs["self-attends"].applied == 12
    _, schedule = build.optimizer(config, 9843)
    assert float(schedule(0)) == float(schedule(49_999)) == pytest.approx(1e-3)
