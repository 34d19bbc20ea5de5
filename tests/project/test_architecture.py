"""The folders in order: what may import what, and how big a module or function may be."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from heat_array_api._comm.communicator import world
from heat_array_api._comm.table import TENSOR_METHODS
from jobs import run

pytestmark = pytest.mark.skipif(world().size > 1, reason="of source files: one process reads them")

PACKAGE = "heat_array_api"
SOURCE = Path(__file__).parents[2] / PACKAGE
MODULE_LINES = 800
FUNCTION_LINES = 60

ORDER = (
    "_errors _options",
    "_caching",
    "_comm",
    "_core",
    "_autograd _creation _elementwise _linalg _repr _reshape",
    "_compile _data_type _manipulation _windows autograd random",
    "_padding _sorting _utility lib",
    "_searching _set",
    "_indexing _statistical",
    "_einsum _quantile io linalg special",
    "_dry_run _ufuncs fft",
    "heat_array_api",
    "demo ml probe",
)
"""Folders and chapters, from the ground up; each imports only from lines above its own."""

PLACES = {place: floor for floor, line in enumerate(ORDER) for place in line.split()}


def name_of(path: Path) -> str:
    """Return a module's name inside the package, ``""`` for the package itself."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PUBLIC = (
    "",
    "autograd",
    "demo",
    "fft",
    "io",
    "lib",
    "lib.stride_tricks",
    "linalg",
    "ml",
    "ml.cluster",
    "ml.decomposition",
    "ml.linear_model",
    "ml.neighbors",
    "probe",
    "random",
    "special",
)
"""The modules that users import."""

MODULES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}


def place(name: str) -> str:
    """Return the folder or chapter at the package's top that a module belongs to."""
    return name.partition(".")[0] or PACKAGE


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


def resolved(name: str, node: ast.ImportFrom) -> str:
    """Return the name inside the package of the module that a relative import names."""
    package = name.split(".") if name else []
    if MODULES[name].name != "__init__.py":
        package.pop()
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def imported(name: str) -> set[str]:
    """Return the absolute names of the modules that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in statements(TREES[name]):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            source = resolved(name, node)
            for alias in node.names:
                inside = f"{source}.{alias.name}".lstrip(".")
                found.add(f"{PACKAGE}.{inside if inside in MODULES else source}".rstrip("."))
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
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


def test_every_module_has_a_place():
    assert {place(name) for name in MODULES} == set(PLACES)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    own = place(name)
    others = {place(other) for other in own_imports(name)} - {own}
    wrong = {other for other in others if PLACES[other] >= PLACES[own]}
    assert not wrong, f"{name} imports from {sorted(wrong)}, not below {own} in the order"


def test_no_cycles():
    try:
        TopologicalSorter({name: own_imports(name) for name in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("name", MODULES)
def test_one_door_to_mpi(name):
    allowed = {"_comm.mpi": {"mpi4py"}, "_comm.children": {"mpi4py"}}  # which tells it not to start
    mpi4py = {other for other in imported(name) if other.split(".")[0] == "mpi4py"}
    assert mpi4py <= allowed.get(name, set())
    starts_mpi = any(
        isinstance(n, ast.ImportFrom) and n.module == "mpi4py" for n in statements(TREES[name])
    )
    assert starts_mpi == (name == "_comm.mpi")
    assert place(name) == "_comm" or "_comm.mpi" not in own_imports(name)


@pytest.mark.parametrize("name", MODULES)
def test_only_collectives_sends_an_arrays_data(name):
    """Others call `_core.collectives`: a communicator's methods for tensors stand nowhere else."""
    if place(name) == "_comm" or name == "_core.collectives":
        return
    sends = {
        f"line {node.lineno}: {node.attr}"
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Attribute) and node.attr in TENSOR_METHODS
    }
    assert not sends, f"{name} calls a communicator: {sorted(sends)}"


@pytest.mark.parametrize("name", MODULES)
def test_nodes_of_the_tape_are_in_one_place(name):
    """All rules for derivatives that are not torch's go through `_core.tape`."""
    classes = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.ClassDef)]
    bases = {ast.unparse(base).rpartition(".")[2] for node in classes for base in node.bases}
    assert "Function" not in bases or name == "_core.tape"


FINITE = {
    "_core.dtypes.limits": "dtypes",
    "_linalg._blas": "one",
    "_sorting.local._nan_key": "dtypes",
    "_sorting.local._radix_is_faster": "dtypes",
    "_ufuncs._function": "NumPy's ufuncs",
    "io._external._inner_store": "one",
    "io._zarr._store_class": "one",
    "special.__getattr__": "SciPy's functions",
}
"""Functions with a cache of their own, and what their results are as many as."""


def own_caches(name: str) -> set[str]:
    """Return the functions of a module with a cache of `functools`, which bounds no bytes."""
    return {
        f"{name}.{node.name}"
        for node in ast.walk(TREES[name])
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and any(
            ast.unparse(decorator).partition("(")[0].rpartition(".")[2] in ("cache", "lru_cache")
            for decorator in node.decorator_list
        )
    }


@pytest.mark.parametrize("name", MODULES)
def test_caches_are_bounded_in_bytes(name):
    """Results that depend on layouts, shapes or counts are remembered by `_caching.cached`."""
    uses = {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(TREES[name])
        if isinstance(node, (ast.Name, ast.Attribute))
    }
    assert name == "_caching" or "lru_cache" not in uses
    assert not own_caches(name) - set(FINITE), "use _caching.cached, or say why there are few"


def test_functions_with_a_cache_of_their_own_are_there():
    assert set(FINITE) == {function for name in MODULES for function in own_caches(name)}


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


def defined_names(tree: ast.Module) -> set[str]:
    """Return the functions and classes that a module defines."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def names_bound(tree: ast.Module) -> set[str]:
    """Return the names that a module's assignments bind."""
    targets = (
        target
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    )
    return {ast.unparse(target) for target in targets}


def star_imported() -> set[str]:
    """Return the modules whose ``__all__`` a facade takes over."""
    return {
        other
        for name, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and [alias.name for alias in node.names] == ["*"]
        for other in [resolved(name, node)]
    }


CHAPTERS = star_imported()
"""Modules whose ``__all__`` lists what users call; in others all without underscore is shared."""

EXPORTING = [name for name, tree in TREES.items() if "__all__" in names_bound(tree)]


def test_what_users_import_has_an_all():
    assert {*PUBLIC, *CHAPTERS} <= set(EXPORTING)


@pytest.mark.parametrize("name", EXPORTING)
def test_all_is_exact(name):
    module = import_module(f"{PACKAGE}.{name}".rstrip("."))
    exported = module.__all__
    assert len(exported) == len(set(exported)), "a name stands twice in __all__"
    unknown = [other for other in exported if not hasattr(module, other)]
    assert not unknown, f"__all__ names what the module does not have: {unknown}"
    missing = {other for other in defined_names(TREES[name]) if other[0] != "_"} - set(exported)
    assert name in CHAPTERS or not missing, f"missing in __all__: {sorted(missing)}"


@pytest.mark.parametrize("name", PUBLIC)
def test_dir_lists_public_names_only(name):
    module = import_module(f"{PACKAGE}.{name}".rstrip("."))
    lazy = [] if name else ["ml"]  # not for a star import: it needs scikit-learn
    assert dir(module) == sorted([*module.__all__, *lazy])


def test_submodules_are_there_by_attribute():
    job = run("import heat_array_api as xp; print(xp.io.load, xp.ml.KMeans, xp.lib.stride_tricks)")
    assert job.returncode == 0, job.stderr


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
