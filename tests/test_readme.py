"""The README's code runs, and the files and configs that it names are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_in_the_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["logits"].shape == (1, 10)


def test_configs_named_in_the_readme_are_there():
    named = set(re.findall(r"configs/\w+\.py", README)) - {"configs/NAME.py"}
    assert {n.removeprefix("configs/") for n in named} <= {
        f.name for f in (ROOT / "configs").glob("*.py")
    }
    for linked in re.findall(r"\]\((\w+\.md)\)", README):
        assert (ROOT / linked).exists()
