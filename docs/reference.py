"""Adds the reference to the site: a page for each package's functions and each command's flags.

MkDocs calls the functions `on_…` (see `mkdocs.yml`).
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from docs.commands import Command, commands  # noqa: E402

TASKS = ("nst", "cartoon", "detection", "superres", "classify")
IMAGES = ("load_image", "load_picture", "save_image")
"""The functions of `atelier.media.images` that documents use."""


def public_names(package: str) -> dict[str, str]:
    """A package's public names, and the modules that define them, from its `__init__`.

    Args:
        package: one that exports by `atelier.imports.lazy.attach`.
    """
    tree = ast.parse((ROOT / package / "__init__.py").read_text("utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    (exports,) = [call.args[1] for call in calls if ast.unparse(call.func) == "attach"]
    return {
        name: f"{package}.{module}"
        for module, names in ast.literal_eval(exports).items()
        for name in names
    }


def functions_page(title: str, names: dict[str, str]) -> str:
    """A page in which mkdocstrings puts the docstrings of public names."""
    lines = [f"# {title}", ""]
    for name, module in sorted(names.items(), key=lambda item: item[0].lower()):
        lines += [f"::: {module}.{name}", ""]
    return "\n".join(lines)


def flags_page(package: str, of_package: list[Command]) -> str:
    """A page with a table of flags for each command of a package."""
    lines = [f"# Commands of {package}", ""]
    for command in of_package:
        lines += [f"## {command.module}", "", f"`python -m {command.module}`", ""]
        lines += [command.text, "", "| flag | takes | default | |", "|---|---|---|---|"]
        for flag in command.flags:
            names = ", ".join(f"`{name}`" for name in (flag.name, *flag.aliases))
            cells = (names, values(flag.kind), default(flag.default), flag.text)
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def values(kind: str) -> str:
    """What a flag takes, from the annotation of its field: `name`, `other`; text; numbers."""
    return _values(ast.parse(kind, mode="eval").body)


def _values(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):  # X | None
        return _values(node.left)
    if not isinstance(node, ast.Subscript):
        return KINDS[ast.unparse(node)]
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if ast.unparse(node.value) == "Literal":
        return ", ".join(f"`{ast.literal_eval(part)}`" for part in parts)
    if ast.unparse(parts[-1]) == "...":
        return f"{_values(parts[0])} …"
    return ", ".join(_values(part) for part in parts)


KINDS = {
    "bool": "",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "Path": "a path",
}


def default(source: str | None) -> str:
    """A default as typed on a command line, from the source."""
    if source is None:
        return "must be given"
    if source.startswith("tuple("):
        return "all"
    source = re.sub(r"Path\((.*)\)", r"\1", source)
    try:
        value = ast.literal_eval(source)
    except ValueError:
        return f"`{source}`"
    if isinstance(value, bool):
        return "on" if value else "off"
    words = value if isinstance(value, tuple) else (value,)
    return " ".join(f"`{word}`" for word in words if word not in (None, ""))


def pages() -> dict[str, str]:
    """The pages of the reference, by their place in the site."""
    made = {f"reference/{task}.md": functions_page(task, public_names(task)) for task in TASKS}
    images = dict.fromkeys(IMAGES, "atelier.media.images")
    made["reference/images.md"] = functions_page("atelier.media.images", images)
    by_package: dict[str, list[Command]] = {}
    for command in commands():
        by_package.setdefault(command.module.split(".")[0], []).append(command)
    for package, of_package in by_package.items():
        made[f"reference/{package}-commands.md"] = flags_page(package, of_package)
    return made


def on_files(files: Files, config: MkDocsConfig) -> Files:
    from mkdocs.structure.files import File

    for place, text in pages().items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links to files of the project that are no part of the site become plain text."""
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", markdown)
