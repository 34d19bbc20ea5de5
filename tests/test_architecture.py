"""The floors of the house: what may import what, and how big a module or function may be."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

from heat_array_api._comm import world

pytestmark = pytest.mark.skipif(world().size > 1, reason="of source files: one process reads them")

PACKAGE = "heat_array_api"
SOURCE = Path(__file__).parent.parent / PACKAGE
MODULE_LINES = 550
FUNCTION_LINES = 60

FLOORS = {
    1: (
        "_errors",
        "_trees",
        "_options",
        "_trace",
        "_gathers",
        "_allocator",
        "_startup",
        "_wire",
        "_pieces",
        "_capturing",
        "_debug",
        "_comm",
    ),
    2: ("_dtypes", "_layout", "_tape", "_primitives", "_kernels"),
    3: ("_array", "_operators", "_redistribute", "_views"),
    4: ("_op", "_autograd"),
}
"""Floors 1 to 4 by name; other private modules are chapters (5), public ones are on floor 6."""


def name_of(path: Path) -> str:
    """Return a module's name inside the package, ``""`` for the package itself."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}


def floor(name: str) -> int:
    """Return the floor of a module."""
    top = name.partition(".")[0]
    if not top.startswith("_") or top == "__main__":
        return 6
    return next((number for number, names in FLOORS.items() if top in names), 5)


def statements(tree: ast.AST) -> list[ast.AST]:
    """Return all nodes but those under ``if TYPE_CHECKING:``."""
    found = []
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
            continue
        found.append(node)
        pending.extend(ast.iter_child_nodes(node))
    return found


def imported(name: str) -> set[str]:
    """Return the absolute names of the modules that a module imports, anywhere in it."""
    package = [PACKAGE, *name.split(".")] if name else [PACKAGE]
    if MODULES[name].name != "__init__.py":
        package.pop()
    found: set[str] = set()
    for node in statements(TREES[name]):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                inside = whole.removeprefix(f"{PACKAGE}.")
                found.add(whole if inside in MODULES else source)
    return found


def own_imports(name: str) -> set[str]:
    """Return which modules of the package a module imports."""
    inside = {
        full.removeprefix(PACKAGE).removeprefix(".")
        for full in imported(name)
        if full == PACKAGE or full.startswith(f"{PACKAGE}.")
    }
    return {other for other in inside if other in MODULES and other != name}


def test_there_are_modules():
    assert MODULES


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    own = floor(name)
    wrong = {other: floor(other) for other in own_imports(name) if floor(other) > own}
    assert not wrong, f"{name} (floor {own}) imports from higher floors: {wrong}"


def test_no_cycles():
    try:
        TopologicalSorter({name: own_imports(name) for name in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("name", MODULES)
def test_one_door_to_mpi(name):
    if name != "_comm":
        assert not {other for other in imported(name) if other.split(".")[0] == "mpi4py"}


@pytest.mark.parametrize("name", MODULES)
def test_nodes_of_the_tape_are_in_one_place(name):
    """All rules for derivatives that are not torch's go through `_tape`."""
    classes = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.ClassDef)]
    bases = {ast.unparse(base).rpartition(".")[2] for node in classes for base in node.bases}
    assert "Function" not in bases or name == "_tape"


@pytest.mark.parametrize("name", MODULES)
def test_module_length(name):
    lines = len(MODULES[name].read_text("utf-8").splitlines())
    assert lines <= MODULE_LINES, f"{name} has {lines} lines"


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function has, less its docstring."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        assert first.end_lineno is not None
        lines -= first.end_lineno - first.lineno + 1
    return lines


@pytest.mark.parametrize("name", MODULES)
def test_function_length(name):
    functions = (
        node
        for node in ast.walk(TREES[name])
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    long = {f.name: length(f) for f in functions if length(f) > FUNCTION_LINES}
    assert not long, f"functions of more than {FUNCTION_LINES} lines in {name}: {long}"


def bound_names(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Return the names that a module defines (functions, classes), and all that it binds."""
    defined, bound = set(), set()
    for node in statements(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            bound.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name)
    return defined, bound | defined


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_all_is_exact(name):
    tree = TREES[name]
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and [ast.unparse(target) for target in node.targets] == ["__all__"]
    ]
    assert len(values) == 1, f"{name} needs one __all__"
    exported = ast.literal_eval(values[0])
    assert len(exported) == len(set(exported)), "a name stands twice in __all__"
    defined, bound = bound_names(tree)
    # A package's submodules are bound by the import system.
    bound |= {other.rpartition(".")[2] for other in MODULES}
    unknown = set(exported) - bound
    assert not unknown, f"__all__ names what the module does not have: {sorted(unknown)}"
    missing = {other for other in defined if not other.startswith("_")} - set(exported)
    assert not missing, f"public functions or classes missing in __all__: {sorted(missing)}"


def test_namespace_has_nothing_but_its_exports():
    """The package's public names, less its modules, are what ``__all__`` lists."""
    if "" not in MODULES:
        pytest.skip("the package has no __init__ yet")
    import heat_array_api as xp

    absent = sorted(name for name in xp.__all__ if not hasattr(xp, name))
    assert not absent, f"in __all__ but not in the namespace: {absent}"
    exempt = {"annotations"}  # the __future__ import
    extra = sorted(
        name
        for name, value in vars(xp).items()
        if not (name.startswith("_") or name in exempt or isinstance(value, ModuleType))
    )
    extra = [name for name in extra if name not in xp.__all__]
    assert not extra, f"public but not in __all__ (delete them, or import them as _name): {extra}"
