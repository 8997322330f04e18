"""Which source files a stage executes: what its result depends on, and what is hashed for it.

The files are found by reading imports, not by running them, so nothing heavy is loaded and an import inside a function
counts. Left out is what cannot change a result by itself (docs/adr/0003):

* the settings and the registry: what they hand on, the resolved values and the chosen module, is hashed instead;
* the contracts: DVC compares a stage's paths and parameters with its own record;
* who watches: progress, MLflow.
"""

import ast
from pathlib import Path

from absld.records.files import sha256_of

LEFT_OUT = ("absld.params", "absld.methods.registry", "absld.watch", "stages.contracts")


def closure(root: Path, *modules: str) -> dict[str, str]:
    """The sha256 of every source file that `modules` import, directly or not, by its path under `root`."""
    found: set[str] = set()
    todo = list(modules)
    while todo:
        module = todo.pop()
        if module in found or module.startswith(LEFT_OUT):
            continue
        found.add(module)
        path = source_of(root, module)
        assert path is not None, module
        todo += imports(root, path)
        if "." in module:
            todo.append(module.rpartition(".")[0])
    paths = sorted(path for module in found if (path := source_of(root, module)))
    return {path.relative_to(root).as_posix(): sha256_of(path) for path in paths}


def source_of(root: Path, module: str) -> Path | None:
    """The file of one of our own modules; None for anything else."""
    base = {"absld": root / "src", "stages": root}.get(module.partition(".")[0])
    if base is None:
        return None
    path = base / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def imports(root: Path, path: Path) -> list[str]:
    """Our own modules that a file names in its imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if source_of(root, name)]
