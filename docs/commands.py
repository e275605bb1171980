"""Reads the flags of the commands from their source, without importing them."""

from __future__ import annotations

import ast
import copy
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("nst", "cartoon", "detection", "superres", "classify", "gallery")
"""The packages with commands for users, in the order of the documents."""


@dataclasses.dataclass(frozen=True)
class Flag:
    """A flag of a command, or what it takes without one."""

    name: str
    """As typed: --background; of an argument without a flag, its field: inputs."""
    kind: str
    """The annotation of its field, without tyro's marks and with what its names stand for."""
    default: str | None
    """Its default as the source has it, constants by their values; None if it must be given."""
    text: str
    """Its docstring, on one line."""
    aliases: tuple[str, ...] = ()
    """Other ways to type it: --no-draw, -om."""

    @property
    def positional(self) -> bool:
        return not self.name.startswith("-")


@dataclasses.dataclass(frozen=True)
class Command:
    """A module that `python -m` runs, and the dataclass of its arguments."""

    module: str
    text: str
    """The dataclass's docstring."""
    flags: tuple[Flag, ...]

    def accepts(self, flag: str) -> bool:
        """Whether the command has a flag, typed as `--flag` or `--flag=value`."""
        known = {"-h", "--help"}
        for own in self.flags:
            known |= {own.name, *own.aliases}
        return flag.partition("=")[0] in known


def source_of(module: str) -> Path | None:
    """The file of the command that `python -m module` runs; None if there is none in the project.

    That of a package is its `command.py`, where it has one, or else its `__main__.py`.
    """
    path = ROOT.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "command.py", path / "__main__.py"):
        if file.is_file():
            return file
    return None


def read_command(module: str) -> Command | None:
    """Reads a command's arguments from the source.

    Args:
        module: as `python -m` takes it: cartoon.run.

    Returns:
        None if there is no such module, or it reads no arguments by `atelier.cli.parse`.
    """
    file = source_of(module)
    name = None if file is None else _parsed_class(_tree(file))
    if name is None:
        return None
    definition, text, fields = _dataclass(file, name)
    assert definition is not None, f"{file}: no class {name}"
    return Command(module, text, tuple(fields.values()))


def commands(packages: tuple[str, ...] = PACKAGES) -> Iterator[Command]:
    """Yields the commands of packages: run first, the others by name."""
    for package in packages:
        files = sorted((ROOT / package).rglob("*.py"), key=lambda f: (f.stem != "run", str(f)))
        for file in files:
            parts = file.relative_to(ROOT).with_suffix("").parts
            if parts[-1] == "command":
                continue  # Read as the package's.
            command = read_command(".".join(p for p in parts if p != "__main__"))
            if command is not None:
                yield command


@functools.cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _parsed_class(tree: ast.Module) -> str | None:
    """The name of the dataclass that the module's `cli.parse` reads in `main`."""
    mains = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main"]
    for node in (n for main in mains for n in ast.walk(main)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "cli.parse":
            return ast.unparse(node.args[0])
    return None


def _dataclass(file: Path, name: str) -> tuple[ast.ClassDef | None, str, dict[str, Flag]]:
    """A class's definition, docstring and fields, those of its bases first, as dataclasses go."""
    found = _definition(file, name)
    if found is None:  # A class of another library's, such as Protocol.
        return None, "", {}
    home, definition = found
    if not isinstance(definition, ast.ClassDef):
        return None, "", {}
    text, fields = ast.get_docstring(definition) or "", {}
    for base in reversed(definition.bases):
        _, inherited, more = _dataclass(home, ast.unparse(base))
        text = text or inherited
        fields |= more
    body = definition.body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            field = node.target.id
            described = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            written = after.value.value if described else ""
            flag = _flag(home, node, " ".join(str(written).split()))
            if not flag.text and field in fields:
                flag = dataclasses.replace(flag, text=fields[field].text)
            fields[field] = flag
    return definition, text, fields


def _definition(file: Path, name: str) -> tuple[Path, ast.ClassDef | ast.expr] | None:
    """Where a class or constant that a module knows by a name is defined; its class or value."""
    tree = _tree(file)
    head, _, rest = name.partition(".")
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == head:
            return (file, node) if not rest else _default(file, node, rest)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return file, node.value
        if not isinstance(node, ast.ImportFrom) or node.level:
            continue
        for alias in node.names:
            if (alias.asname or alias.name) != head:
                continue
            module = source_of(f"{node.module}.{alias.name}")
            if module is not None:  # Of which a class is asked for: batches.ClusterSettings.
                return _definition(module, rest) if rest else None
            home = source_of(node.module) or ROOT.joinpath(*node.module.split("."), "__init__.py")
            name = ".".join(filter(None, (alias.name, rest)))
            # A package that imports its own part: from atelier import media.
            return _definition(home, name) if home.is_file() and home != file else None
    return None


def _default(
    file: Path, definition: ast.ClassDef, field: str
) -> tuple[Path, ast.ClassDef | ast.expr] | None:
    """The default of a class's field."""
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == field and node.value:
            return file, node.value
    return None


PLAIN = (ast.Constant, ast.Tuple, ast.Subscript, ast.Call)
"""Expressions that say more than the name of a constant: "lite", (1, 2), Literal[…], Path(…)."""


class _Resolve(ast.NodeTransformer):
    """Puts what they stand for in the place of the project's own names."""

    def __init__(self, file: Path):
        self.file = file

    def visit_Name(self, node: ast.Name) -> ast.AST:
        found = _definition(self.file, ast.unparse(node))
        if found is None or not isinstance(found[1], PLAIN):
            return node
        return _resolved(*found)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return self.visit_Name(node)


def _resolved(file: Path, node: ast.expr) -> ast.expr:
    return _Resolve(file).visit(copy.deepcopy(node))


def _flag(file: Path, node: ast.AnnAssign, text: str) -> Flag:
    field, kind, aliases = node.target.id, node.annotation, []
    if isinstance(kind, ast.Subscript) and ast.unparse(kind.value).split(".")[-1] == "Annotated":
        kind, *marks = kind.slice.elts
        for mark in marks:
            for keyword in getattr(mark, "keywords", ()):
                if keyword.arg == "aliases":
                    aliases += ast.literal_eval(keyword.value)
    default = None if node.value is None else ast.unparse(_resolved(file, node.value))
    if ast.unparse(kind).startswith("tyro.conf.Positional"):
        return Flag(field, ast.unparse(_resolved(file, kind.slice)), default, text)
    typed = ast.unparse(_resolved(file, kind))
    name = field.replace("_", "-")
    if typed == "bool":
        aliases.append(f"--no-{name}")
    return Flag(f"--{name}", typed, default, text, tuple(aliases))
