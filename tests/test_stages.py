"""The contracts: dvc.yaml says what contracts.py says, a stage sees what it declares, its code is what it imports."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import grimp
import pytest

from absld.errors import InputError
from absld.methods.registry import METHODS, module_of
from absld.params.load import load
from absld.params.methods import Methods
from stages.closure import LEFT_OUT, closure, source_of
from stages.contracts import ALL, EVALUATE, TRAIN, Stage
from stages.declared import declared, resolved, restricted
from stages.opening import _code_is_as_listed, code_of, listing, open_stage

ROOT = Path(__file__).parents[1]


def in_dvcs_words(stage: Stage, path: str) -> str:
    for axis in stage.axes:
        path = path.replace(f"{{{axis}}}", f"${{item.{axis}}}")
    return path


def test_the_contracts_name_every_stage_of_dvc_yaml() -> None:
    from absld.params.yaml_file import read_yaml

    assert [stage.name for stage in ALL] == list(read_yaml(ROOT / "dvc.yaml")["stages"])


@pytest.mark.parametrize("stage", ALL, ids=lambda stage: stage.name)
def test_dvc_yaml_is_the_contract(stage: Stage) -> None:
    from absld.params.yaml_file import read_yaml

    written = read_yaml(ROOT / "dvc.yaml")["stages"][stage.name]
    words = [f"python -m stages.{stage.name}", *(f"${{item.{axis}}}" for axis in stage.axes)]
    assert written["cmd"] == " ".join(words)
    assert list(written["deps"]) == [in_dvcs_words(stage, path) for path in stage.reads.values()]
    assert list(written.get("params", [])) == [in_dvcs_words(stage, key) for key in stage.params]
    assert dict(written.get("matrix", {})) == {axis: f"${{{key}}}" for axis, key in stage.matrix.items()}
    found = {
        kind: [next(iter(out)) if hasattr(out, "keys") else out for out in written.get(kind, [])]
        for kind in ("outs", "metrics", "plots")
    }
    expected: dict[str, list[str]] = {"outs": [], "metrics": list(stage.metrics), "plots": list(stage.plots)}
    expected["outs"] = [name for name in stage.writes if name not in (*stage.metrics, *stage.plots)]
    assert found == {
        kind: [in_dvcs_words(stage, stage.writes[name]) for name in names] for kind, names in expected.items()
    }


def test_every_out_is_ignored_by_git() -> None:
    paths = [path.format(method="absld", seed=0) for stage in ALL for path in stage.writes.values()]
    ignored = subprocess.run(["git", "check-ignore", *paths], cwd=ROOT, capture_output=True, text=True).stdout
    assert ignored.split() == paths


def test_no_two_stages_write_the_same() -> None:
    paths = [path for stage in ALL for path in stage.writes.values()]
    assert len(paths) == len(set(paths))


def test_what_is_read_is_written_by_a_stage_before() -> None:
    known = {"src", "stages", "runs"}
    for stage in ALL:
        for path in stage.reads.values():
            assert path in known or path.replace("{name}", "") in known, (stage.name, path)
        known |= set(stage.writes.values())


def test_a_stage_sees_what_it_declares_and_nothing_else() -> None:
    params = load(ROOT / "params.yaml")
    seen = restricted(params, declared(TRAIN, {"method": "absld", "seed": "0"}))
    assert seen.methods.absld == params.methods.absld
    assert seen.train == params.train
    for section in ("data", "teacher", "runs", "evaluate", "export", "report"):
        with pytest.raises(AttributeError):
            getattr(seen, section)
    with pytest.raises(AttributeError):
        _ = seen.methods.rslad
    evaluation = restricted(params, declared(EVALUATE, {"method": "absld", "seed": "0"}))
    assert evaluation.train.device == params.train.device
    with pytest.raises(AttributeError):
        _ = evaluation.train.validation


def test_resolved_values_are_json_and_numbers() -> None:
    values = resolved(load(ROOT / "pipeline/profiles/cifar10.yaml"), ["methods.absld", "train.device"])
    assert values["train.device"] == "auto"
    assert values["methods.absld"]["attack"]["eps"] == 8 / 255
    json.dumps(values)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(InputError, match="'abslt' is no method"):
        open_stage(TRAIN, ROOT, method="abslt", seed="0")


def test_the_registry_has_every_block() -> None:
    assert set(METHODS) == set(Methods.model_fields)
    assert all(closure(ROOT, module_of(name)) for name in METHODS)


# --- closures ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """The imports of everything, as another library reads them."""
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]
    try:
        return grimp.build_graph("absld", "stages", cache_dir=None)
    finally:
        del sys.path[:2]


def upstream(graph: grimp.ImportGraph, modules: list[str]) -> set[str]:
    """All that `modules` import, with the packages around it, walking past what is left out."""
    found: set[str] = set()
    todo = list(modules)
    while todo:
        module = todo.pop()
        if module in found or module.startswith(LEFT_OUT) or module not in graph.modules:
            continue
        found.add(module)
        todo += graph.find_modules_directly_imported_by(module)
        todo += [module.rpartition(".")[0]] if "." in module else []
    return found


@pytest.mark.parametrize("stage", [stage for stage in ALL if "code" not in stage.name], ids=lambda stage: stage.name)
def test_a_closure_is_what_another_reader_of_imports_finds(stage: Stage, graph: grimp.ImportGraph) -> None:
    methods = ("absld", "frl") if stage is TRAIN else ()
    mine = {module_name(path) for path in code_of(ROOT, stage.name, *methods)}
    modules = [f"stages.{stage.name}", *map(module_of, methods)]
    assert mine == upstream(graph, modules)
    assert len(mine) > 5


def module_name(path: str) -> str:
    return path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_a_run_does_not_depend_on_other_methods_watchers_or_the_report() -> None:
    code = code_of(ROOT, "train", "absld")
    assert "src/absld/methods/absld.py" in code
    assert "src/absld/training/fit.py" in code
    for other in ("methods/rslad.py", "methods/trades.py", "watch", "report", "export", "params", "evaluation"):
        assert not [path for path in code if path.startswith(f"src/absld/{other}")], other


def test_no_method_depends_on_another() -> None:
    files = {module_of(name): source_of(ROOT, module_of(name)) for name in METHODS}
    for name in METHODS:
        others = {path.relative_to(ROOT).as_posix() for module, path in files.items() if module != module_of(name)}
        assert not others & set(closure(ROOT, module_of(name))), name


def test_a_stage_that_is_no_method_does_not_depend_on_one() -> None:
    opened = open_stage(EVALUATE, ROOT, method="absld", seed="0")
    assert opened.code == code_of(ROOT, "evaluate")
    assert not [path for path in opened.code if path.endswith("methods/absld.py")]


def test_code_that_changed_under_way_is_refused(tmp_path: Path) -> None:
    listed = tmp_path / "absld.sha256"
    opened = open_stage(TRAIN, ROOT, method="absld", seed="0")
    opened = replace(opened, reads={"code": listed})
    _code_is_as_listed(opened)  # a machine without DVC has no list
    listed.write_text(listing(opened.code, opened.resolved))
    _code_is_as_listed(opened)
    listed.write_text(listing({**opened.code, "src/absld/seeds.py": "0" * 64}, opened.resolved))
    with pytest.raises(InputError, match="changed since this reproduction began"):
        _code_is_as_listed(opened)


def test_the_modules_a_stage_really_loads_are_in_its_closure() -> None:
    script = (
        "import sys, runpy; runpy.run_module('stages.train'); import absld.methods.absld\n"
        "print('\\n'.join(name for name in sys.modules if name.partition('.')[0] in ('absld', 'stages')))"
    )
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": ""}
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    known = {module_name(path) for path in code_of(ROOT, "train", "absld")}
    assert {name for name in loaded.stdout.split() if not name.startswith(LEFT_OUT)} <= known
