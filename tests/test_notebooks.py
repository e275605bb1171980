"""Every notebook runs from top to bottom in quick mode, and its stored output is its own: without
errors, and with the numbers that the page of its task states."""

import re
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import nst

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

SETS = (
    r"(?P<set5>[\d.]+)\** / (?P<set5_ssim>[\d.]+) \| "
    r"\**(?P<set14>[\d.]+)\** / (?P<set14_ssim>[\d.]+)"
)


def in_table_1(name: str) -> tuple[str, str]:
    """A network's row in the stored table, and in the page's."""
    stored = (
        rf"\| {name}-x2 \|(?: \d+ \|){{3}} (?P<set14>[\d.]+) \| (?P<set14_ssim>[\d.]+) \| "
        r"(?P<set5>[\d.]+) \| (?P<set5_ssim>[\d.]+) \|"
    )
    return stored, rf"\n\| \**`{name}`[^|]*\| [\d,]+ \| \d+ / \d+ \| \**{SETS}"


def of_scheme(stored: str, stated: str, epochs: int) -> tuple[str, str]:
    """A training scheme's row in the stored table, and in the page's."""
    return (
        rf"\n{stored} +{epochs} +(?P<ap>[\d.]+) +(?P<ap50>[\d.]+)",
        rf"\n\| {stated}[^|]* \| {epochs} \| (?P<ap>[\d.]+) \| (?P<ap50>[\d.]+) \|",
    )


HEADLINES = {
    "superres": [in_table_1(n) for n in ("report-float", "clean-float", "clean", "proposed")],
    "classify": [
        (
            r"Accuracy: (?P<accuracy>[\d.]+)%, the report's: 75.63%",
            r"\n\| preset `report` \| [\d,]+ \|[^|]*\| (?P<accuracy>[\d.]+) % \|",
        ),
        (
            r"accuracy (?P<accuracy>[\d.]+)%, (?P<weights>[\d,]+) parameters, 6 views\n"
            r"expected calibration error (?P<before>[\d.]+), with temperature (?P<after>[\d.]+)\n",
            r"\n\| \*\*`strong`\*\*[^|]*\| (?P<weights>[\d,]+) \|[^|]*\| \*\*(?P<accuracy>[\d.]+) %"
            r"\*\* \|[^|]*\| (?P<after>[\d.]+) \| (?P<before>[\d.]+) \|",
        ),
    ],
    "detection": [
        of_scheme("approximate", "approximate joint", 8),
        of_scheme("non-approximate", "non-approximate joint", 8),
        of_scheme("alternating", "alternating", 16),
        of_scheme("approximate", "approximate joint", 5),
        of_scheme("approximate", "approximate joint", 4),
    ],
    "cartoon": [
        (
            r"\nmean +SSIM (?P<bare>[\d.]+), with margins (?P<margins>[\d.]+)",
            r"the mean SSIM is\s+(?P<bare>[\d.]+), in the report 0\.862.*?"
            r"\(`--margins`\) it is (?P<margins>[\d.]+)\.\n",
        )
    ],
}
"""By notebook: where numbers stand in its stored output, and where the page of the same name in
docs/ states them."""


def stored_text(notebook) -> str:
    """All that the notebook's cells have printed, and the text of what they showed."""
    texts = [""]
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            shown = output.get("data", {})
            texts.append(output.get("text") or shown.get("text/markdown") or "")
    return re.sub(r"\x1b\[[\d;]*m", "", "\n".join(texts))


def assert_stated(stored: str, page: str, patterns: tuple[str, str]) -> None:
    """The page states the stored numbers, rounded to as many digits as it gives."""
    numbers = []
    for text, pattern in zip((stored, page), patterns, strict=True):
        found = re.search(pattern, text, re.DOTALL)
        assert found, f"no line like {pattern}"
        numbers.append({k: v.replace(",", "") for k, v in found.groupdict().items()})
    measured, stated = numbers
    rounded = {
        name: str(Decimal(measured[name]).quantize(Decimal(text), ROUND_HALF_UP))
        for name, text in stated.items()
    }
    assert rounded == stated


def parameters(notebook):
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    return cell


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_in_quick_mode(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    cell = parameters(notebook)
    assert "QUICK = False" in cell.source
    cell.source = cell.source.replace("QUICK = False", "QUICK = True")
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_stored_executed_without_errors(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    counts = [cell.execution_count for cell in code]
    assert counts == list(range(1, len(code) + 1))
    kinds = {output.output_type for cell in code for output in cell.outputs}
    assert "error" not in kinds
    assert "display_data" in kinds


@pytest.mark.parametrize("name", HEADLINES)
def test_stored_numbers_are_those_that_the_page_states(name):
    stored = stored_text(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4))
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for patterns in HEADLINES[name]:
        assert_stated(stored, page, patterns)


def test_table_1_is_of_the_reports_sets():
    stored = stored_text(nbformat.read(ROOT / "notebooks" / "superres.ipynb", as_version=4))
    columns = ("Set14_psnr", "Set14_ssim", "Set5_psnr", "Set5_ssim")
    header = " | ".join(["| method", "parameters", "weight_bits", "activation_bits", *columns])
    assert header in stored


def test_the_reports_seven_settings_were_run_in_its_order():
    stored = stored_text(nbformat.read(ROOT / "notebooks" / "nst.ipynb", as_version=4))
    rows = re.findall(r"\| (\d) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| (\w+) \| (\S+) \|", stored)
    names = ("iterations", "style_weight", "learning_rate", "trainable")
    usual = {name: getattr(nst.REPORT, name) for name in names}
    settings = [{**usual, **setting} for setting in nst.REPORT_SETTINGS]
    assert [row[0] for row in rows] == list("1234567")
    assert [row[1:5] for row in rows] == [
        tuple(str(setting[name]) for name in names) for setting in settings
    ]
    losses = [float(row[5]) for row in rows]
    assert losses[1] == losses[2], "trainable=True changes nothing"
    assert losses[0] > losses[1]
    assert "largest difference of any pixel: 0\n" in stored


@pytest.mark.parametrize(
    ("stored", "passes"),
    [
        ("SSIM 0.6326\n", True),
        ("SSIM 0.634\n", False),
        ("SSIM of five pictures 0.633\n", False),
        ("", False),
    ],
)
def test_another_output_is_not_taken_for_the_stated_one(stored, passes):
    patterns = (r"^SSIM (?P<ssim>[\d.]+)", r"SSIM is (?P<ssim>[\d.]+),")
    if passes:
        assert_stated(stored, "the SSIM is 0.633, here", patterns)
    else:
        with pytest.raises(AssertionError):
            assert_stated(stored, "the SSIM is 0.633, here", patterns)
