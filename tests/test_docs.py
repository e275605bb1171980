"""README and the pages: links lead somewhere, and commands, flags, targets and names exist."""

import ast
import dataclasses
import importlib
import re
import shlex
from pathlib import Path

import pytest

from atelier import cli
from docs import commands, reference

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + PAGES
TASKS = {
    "Style transfer": "style-transfer.md",
    "Cartoon": "cartoon.md",
    "Detection": "detection.md",
    "Super-resolution": "superres.md",
    "Classification": "classify.md",
}
"""README's sections, and the pages that they sum up."""

OTHERS = {"http", "pip", "pytest", "venv", "mkdocs"}
"""Modules of other projects that the documents run by `python -m`."""

OTHERS_FLAGS = {"--head", "--address", "--port", "--ray-client-server-port"}
"""Flags of Ray's own command."""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


documents = pytest.mark.parametrize("path", DOCUMENTS, ids=named)


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def spans(text: str) -> list[str]:
    """What stands in `backticks`, on one line each."""
    return [" ".join(s.split()) for s in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(text))]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site name them."""
    headings = re.findall(r"^#+ (.+)$", prose(text), flags=re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in kept}


def broken_links(path: Path, text: str) -> list[str]:
    """The relative links of a page that lead nowhere."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        page = target if target.suffix == ".md" else None
        if not target.exists() or (
            anchor and (page is None or anchor not in anchors(page.read_text("utf-8")))
        ):
            broken.append(link)
    return broken


def command_lines(text: str) -> list[tuple[str, list[str]]]:
    """The commands that a page shows by `python -m`: module, and the words behind it."""
    shell = "\n".join(blocks(text, "sh")).replace("\\\n", " ").splitlines()
    lines = []
    for line in [*shell, *spans(text)]:
        for found in re.finditer(r"python -m (\S+)([^|&;<>]*)", line.split(" # ")[0]):
            module, words = found.groups()
            lines.append((module, shlex.split(words, comments=True)))
    return lines


def is_flag(word: str) -> bool:
    return re.match(r"--?[a-zA-Z]", word) is not None


def faults(module: str, words: list[str]) -> list[str]:
    """What is wrong with a command that a page shows."""
    if module.split(".")[0] in OTHERS:
        return []
    if commands.source_of(module) is None:
        return [f"no module {module}"]
    command = commands.read_command(module)
    assert command is not None, f"{module} reads no arguments"
    flags = [word for word in words if is_flag(word)]
    return [f"{module} has no {flag}" for flag in flags if not command.accepts(flag)]


def section(text: str, heading: str) -> str:
    return re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)[1]


def unsupported_numbers(summary: str, page: str) -> list[str]:
    """The numbers under *Measured* in a section of README that its page does not state."""
    measured = re.search(r"\*\*Measured\*\*(.*?)^- ", summary, re.DOTALL | re.MULTILINE)[1]
    number = r"(?<![\w.,])\d+(?:,\d{3})*(?:\.\d+)?(?!\w)"
    stated = set(re.findall(number, page))
    return [n for n in re.findall(number, re.sub(r"`[^`]*`", "", measured)) if n not in stated]


def test_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= 10_240


@pytest.mark.parametrize("heading", TASKS)
def test_each_task_is_shown_alike(heading):
    summary = section((ROOT / "README.md").read_text("utf-8"), heading)
    assert len(blocks(summary, "sh")) == len(blocks(summary, "python")) == 1
    assert re.findall(r"!\[|\*\*\w+\*\*", summary) == ["![", "**Measured**", "**Limits**"]
    page = (ROOT / "docs" / TASKS[heading]).read_text("utf-8")
    parts = re.findall(r"^## (.+)$", prose(page), re.MULTILINE)
    assert parts[:3] == ["Use", "Measured", "Where it differs from the report"]


@documents
def test_links_lead_somewhere(path):
    assert broken_links(path, path.read_text("utf-8")) == []


@pytest.mark.parametrize("link", ["docs/nothing.md", "docs/jobs.md#nothing", "#nothing"])
def test_broken_links_are_found(link):
    assert broken_links(ROOT / "README.md", f"# Atelier\n[see]({link})") == [link]


@documents
def test_commands_and_their_flags_exist(path):
    found = [faults(*line) for line in command_lines(path.read_text("utf-8"))]
    assert [fault for each in found for fault in each] == []


@documents
def test_flags_named_alone_belong_to_a_command(path):
    known = list(commands.commands((*commands.PACKAGES, "benchmarks")))
    flags = {
        word
        for span in spans(path.read_text("utf-8"))
        if span.startswith("-")
        for word in span.split()
        if is_flag(word)
    }
    assert [f for f in flags - OTHERS_FLAGS if not any(c.accepts(f) for c in known)] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`python -m nst.run a.jpg --size 3`", []),
        ("`python -m nst.runs`", ["no module nst.runs"]),
        ("```sh\npython -m cartoon.run a.jpg \\\n  --backdrop b\n```\n", ["cartoon.run has no"]),
    ],
)
def test_unknown_commands_and_flags_are_found(text, expected):
    found = [fault for line in command_lines(text) for fault in faults(*line)]
    assert len(found) == len(expected)
    assert all(fault.startswith(start) for fault, start in zip(found, expected, strict=True))


RUNS = [
    (module, words)
    for path in DOCUMENTS
    for module, words in command_lines(path.read_text("utf-8"))
    if module.endswith(".run") and not {"…", "--help"} & {*words}
]


@pytest.mark.parametrize("line", RUNS, ids=lambda line: " ".join([line[0], *line[1]]))
def test_values_of_flags_are_accepted(line):
    name, words = line
    module = importlib.import_module(name)
    presets = getattr(module, "PRESETS", None)
    cli.parse(module.RunArguments, words, prog="", presets=presets)


@documents
def test_make_targets_exist(path):
    text = path.read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    lines = [*spans(text), *"".join(blocks(text, "sh")).splitlines()]
    targets = {found[1] for line in lines if (found := re.match(r"make ([a-z-]+)", line))}
    assert [t for t in targets if not re.search(rf"^{t}:", makefile, re.MULTILINE)] == []


def missing_files(text: str) -> list[str]:
    """The files of the project that a page names by a path, and that are not there."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"out", "runs", "site"}
    paths = [s for s in spans(text) if "/" in s and s.split("/")[0] in folders and " " not in s]
    return [path for path in paths if not any(ROOT.glob(path.rstrip("/")))]


@documents
def test_files_that_are_named_exist(path):
    assert missing_files(path.read_text("utf-8")) == []


def test_missing_files_are_found():
    text = "`nst/transfer.py`, `classify/weights/*.csv`, `docs/` and `nst/lossless.py`"
    assert missing_files(text) == ["nst/lossless.py"]


@documents
def test_python_examples_use_public_names(path):
    for block in blocks(path.read_text("utf-8"), "python"):
        tree = ast.parse(block)
        imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import)]
        packages = {alias.name for node in imports for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in packages:
                assert node.attr in importlib.import_module(ast.unparse(node.value)).__all__


@pytest.mark.parametrize("heading", TASKS)
def test_numbers_of_readme_are_those_of_the_pages(heading):
    summary = section((ROOT / "README.md").read_text("utf-8"), heading)
    page = (ROOT / "docs" / TASKS[heading]).read_text("utf-8")
    assert unsupported_numbers(summary, page) == []


def test_other_numbers_are_found():
    summary = "- **Measured**: 0.9 of 1,000, 36.89 dB (`seen 5`).\n- **Limits**: 7.\n"
    assert unsupported_numbers(summary, "0.91 of 1,000, 36.89.") == ["0.9"]


def test_modules_that_the_design_names_exist():
    text = (ROOT / "docs" / "design.md").read_text("utf-8")
    for package, body in re.findall(r"^### (\w+)\n(.*?)(?=^##)", text, re.DOTALL | re.MULTILINE):
        names = {p.stem for p in (ROOT / package).rglob("*") if p.suffix in ("", ".py")}
        assert [s for s in spans(body) if s not in names] == [], package


@pytest.mark.parametrize("package", reference.TASKS)
def test_reference_has_every_public_name(package):
    names = reference.public_names(package)
    assert sorted(names) == sorted(importlib.import_module(package).__all__)
    page = reference.pages()[f"reference/{package}.md"]
    assert all(f"\n::: {module}.{name}\n" in page for name, module in names.items())


def undocumentable(function: ast.FunctionDef) -> list[str]:
    """The arguments in a function's docstring that it does not have, or has without a type."""
    said = re.search(r"^Args:\n((?: +.*\n|\n)+)", f"{ast.get_docstring(function) or ''}\n", re.M)
    names = re.findall(r"^    (\S[^:\n]*):", said[1], re.MULTILINE) if said else []
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    typed = {argument.arg for argument in every if argument.annotation}
    return [name for name in names if name.lstrip("*") not in typed]


@pytest.mark.parametrize("package", reference.TASKS)
def test_arguments_in_docstrings_are_those_of_the_public_functions(package):
    for name, module in reference.public_names(package).items():
        for node in ast.parse(commands.source_of(module).read_text("utf-8")).body:
            if getattr(node, "name", None) == name:
                found = [f for f in ast.walk(node) if isinstance(f, ast.FunctionDef)]
                assert [fault for f in found for fault in undocumentable(f)] == [], name


def test_arguments_that_a_function_does_not_have_are_found():
    code = 'def f(a: int, b):\n    """Adds.\n\n    Args:\n        a: one.\n        b: two.\n    """'
    assert undocumentable(ast.parse(code).body[0]) == ["b"]


def test_reference_has_every_flag_of_a_command():
    page = reference.pages()["reference/cartoon-commands.md"]
    for flag in commands.read_command("cartoon.run").flags:
        assert f"| `{flag.name}`" in page
    assert "`--refine`, `--no-refine` |  | on | " in page
    assert "`--segmenter` | `person`, `deeplabv3-resnet101` | `person` | " in page
    assert "`--out` | a path | `out/cartoon` | " in page


def test_constants_of_other_modules_are_shown_by_their_values():
    flags = {flag.name: flag for flag in commands.read_command("detection.sweep").flags}
    assert flags["--backbone"].kind.startswith("Literal['lite', 'vgg16'")
    assert flags["--out"].default == "Path('runs/detection-sweep')"


def test_navigation_of_the_site_has_every_page():
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    named_pages = re.findall(r": (\S+\.md)$", text, re.MULTILINE)
    written = {page.name for page in (ROOT / "docs").glob("*.md")}
    assert sorted(named_pages) == sorted(written | set(reference.pages()))


@pytest.mark.parametrize("package", ["nst", "cartoon", "detection", "superres", "classify"])
def test_flags_read_from_the_source_are_those_of_the_command(package):
    module = importlib.import_module(f"{package}.run")
    fields = [f.name for f in dataclasses.fields(module.RunArguments)]
    flags = commands.read_command(f"{package}.run").flags
    assert [f.name.removeprefix("--").replace("-", "_") for f in flags] == fields
    assert all(f.text for f in flags)


def test_every_package_points_to_its_source():
    sources = anchors((ROOT / "docs" / "sources.md").read_text("utf-8"))
    for package in commands.PACKAGES[:5]:
        said = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text("utf-8")))
        assert re.search(r"docs/sources\.md#([\w-]+)", said)[1] in sources, package
