"""notebooks/quickstart.ipynb runs from top to bottom, and is stored without outputs."""

import base64
import io
import re

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from tests.processes import ROOT, TINY

FILE = ROOT / "notebooks" / "quickstart.ipynb"


@pytest.fixture
def notebook():
    notebook = nbformat.read(FILE, as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_is_stored_without_outputs(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_trains_predicts_and_draws_attention_maps(notebook, tmp_path, monkeypatch):
    """Runs in a real kernel; only the size of the network is changed."""
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    cells = {cell.id: cell for cell in notebook.cells}
    cells[
        "parameters"
    ].source = (
        f'CONFIG, WORKDIR = "configs/digits.py", {str(tmp_path / "run")!r}\nOVERRIDES = {TINY[1:]}'
    )
    NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(FILE.parent)}}
    ).execute()

    def printed(name):
        return "".join(x.text for x in cells[name].outputs if x.output_type == "stream")

    def pictures(name):
        displayed = [x.data for x in cells[name].outputs if x.output_type == "display_data"]
        return [Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) for data in displayed]

    assert "reached, at step 12: top-1" in printed("train")
    (curves,) = pictures("show_curves")
    assert min(curves.size) > 200
    lines = printed("predict").splitlines()
    assert len(lines) == 8
    assert all(re.fullmatch(r"\d: \d, [\d.]+% sure", line) for line in lines)
    (maps,) = pictures("maps")
    assert len(maps.convert("RGB").getcolors(maxcolors=2**24)) > 50  # not one flat colour
    assert len(re.findall(r"^\d: cosine [\d.-]+$", printed("nearest"), flags=re.MULTILINE)) == 3
