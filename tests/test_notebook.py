"""notebooks/quickstart.ipynb is what its script makes, and runs from top to bottom, offline."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"


def test_the_notebook_is_what_its_script_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.syspath_prepend(FOLDER)
    from make_quickstart import notebook

    made = nbformat.writes(notebook()).strip()
    assert (FOLDER / "quickstart.ipynb").read_text(encoding="utf-8").strip() == made, "run notebooks/make_quickstart.py"


@pytest.mark.long
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = f'["{sys.executable}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"]'
    (kernel / "kernel.json").write_text(f'{{"argv": {command}, "display_name": "Python 3", "language": "python"}}')
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    for name, value in {"PROBLEMS": "2", "PROMPTS": "2", "MINUTES": "0.001", "PYTHONPATH": path, "HF_HUB_OFFLINE": "1",
                        "JUPYTER_PATH": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(FOLDER / "quickstart.ipynb", as_version=4)
    where = {"metadata": {"path": tmp_path}}
    nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3", resources=where).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    said = "".join(output.get("text", "") for output in outputs)
    assert "step-by-step:" in said and "reward of the first" in said
    assert any("image/png" in output.get("data", {}) for output in outputs)
