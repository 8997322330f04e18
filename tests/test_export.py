"""The exported file: what it computes, what it carries and what not; and that of a wrong one nothing is written."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_exports import CLASSES, SPEC, WANTED, Exported, evaluation, images, run_export, trained
from torch import nn

from absld.data.dataset import write_card
from absld.errors import InputError, ParityError
from absld.evaluation.arrays import write_npz
from absld.export.artefact import torch_network
from absld.export.onnx_file import to_onnx
from absld.export.parity import measure, onnx_network
from absld.networks.weights import load, save
from absld.networks.zoo import Classifier, Spec
from absld.params.root import Params
from absld.records.files import read_json, sha256_of, write_json
from stages.contracts import EXPORT
from stages.export import work
from stages.opening import Opened

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def session(exported: Exported) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(exported.folder / "student.onnx"), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_the_file_computes_what_torch_computes(
    exported: Exported, session: onnxruntime.InferenceSession, batch: int
) -> None:
    x = images(batch)
    with torch.no_grad():
        z = exported.student.backbone((torch.from_numpy(x) - 0.3) / 0.25).numpy()
    (found,) = session.run(["logits"], {"images": x})
    np.testing.assert_allclose(found, z, atol=1e-5)
    assert found.argmax(1).tolist() == z.argmax(1).tolist()


def test_names_types_and_the_free_batch(session: onnxruntime.InferenceSession) -> None:
    (given,), (back,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(float)", ["batch", 1, 8, 8])
    assert (back.name, back.type, back.shape) == ("logits", "tensor(float)", ["batch", 10])


def test_the_operator_set_is_the_one_asked_for(exported: Exported) -> None:
    model = onnx.load_from_string(exported.model)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_is_written_is_one_file_and_its_card(exported: Exported) -> None:
    assert files_below(exported.folder) == ["card.json", "card.md", "student.onnx", "variants/variants.json"]
    assert read_json(exported.folder / "variants/variants.json") == {"fp16": None, "int8": None}
    weights = sum(parameter.numel() for parameter in exported.student.parameters())
    assert len(exported.model) > 4 * 0.95 * weights  # BatchNorm's own numbers are folded away


def test_nothing_of_the_builders_machine_is_inside(exported: Exported) -> None:
    for trace in (str(ROOT), str(Path.home()) + "/", sys.prefix, "site-packages", "stack_trace", ".py", os.sep + "tmp"):
        assert trace.encode() not in exported.model


@pytest.mark.slow
def test_the_same_bytes_from_another_folder(exported: Exported, tmp_path: Path) -> None:
    """Other source folder, working folder, process and hash seed."""
    save(tmp_path / "weights.safetensors", exported.student)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "absld").symlink_to(ROOT / "src" / "absld")
    program = (
        "import hashlib; from pathlib import Path; from absld.export.onnx_file import to_onnx;"
        "from absld.networks.weights import load;"
        "student = load(Path('weights.safetensors'));"
        "print(hashlib.sha256(to_onnx(student, (1, 8, 8), 18, {'b': '2', 'a': '1'})).hexdigest())"
    )
    there = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "elsewhere"), "PYTHONHASHSEED": "5", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = to_onnx(load(tmp_path / "weights.safetensors"), (1, 8, 8), 18, {"b": "2", "a": "1"})
    assert there.stdout.strip() == hashlib.sha256(here).hexdigest()


def test_the_same_files_when_done_again(exported: Exported, tmp_path: Path) -> None:
    run_export(exported.student, tmp_path)
    for name in files_below(exported.folder):
        assert (tmp_path / name).read_bytes() == (exported.folder / name).read_bytes()


def test_metadata_that_onnx_runtime_gives_back(session: onnxruntime.InferenceSession) -> None:
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == CLASSES
    assert json.loads(told["input"])["range"] == [0, 1]
    assert json.loads(told["threat_model"]) == {"norm": "Linf", "eps": 0.1, "eps_text": "0.1"}
    # by hand: class k has 30 − k of 36, so 25.5 of 36 on average and 21 in the last; AutoAttack takes 8 of each
    accuracy = json.loads(told["accuracy"])
    assert accuracy["clean"] == pytest.approx({"average": 25.5 / 36, "worst": 21 / 36})
    assert accuracy["aa"] == pytest.approx({"average": 17.5 / 36, "worst": 13 / 36})
    assert (told["method"], told["seed"], told["epoch"], told["select_on"]) == ("absld", "0", "27", "validation")
    assert (told["weights_sha256"], told["params_sha256"], told["code_sha256"]) == ("w" * 64, "p", "c")
    assert (told["export_params_sha256"], told["export_code_sha256"]) == ("ep", "ec")
    assert json.loads(told["teacher"])["licence"] == "your own"
    assert json.loads(told["data"]) == {"name": "digits", "source": "scikit-learn", "licence": "CC BY 4.0"}


def test_a_network_in_training_mode_is_refused() -> None:
    student = trained(SPEC)
    student.backbone.get_submodule("layer2.bn1").train()
    with pytest.raises(ValueError, match="training mode"):
        to_onnx(student, (1, 8, 8), 18, {})


class ExportedOtherwise(nn.Module):
    """What a bug in the exporter looks like: another network is traced than is run."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = self.backbone(1.02 * x if torch.compiler.is_exporting() else x)
        return z


def test_a_file_that_computes_something_else_is_not_written(tmp_path: Path) -> None:
    student = Classifier(SPEC, ExportedOtherwise(trained(SPEC).backbone)).eval()
    with pytest.raises(ParityError, match=r"disagrees with the torch student on clean images: in batches of 1: \d+ of"):
        run_export(student, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_of_other_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="other weights"):
        run_export(trained(SPEC), tmp_path, weights_sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_the_stage_writes_what_its_contract_says(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reads = {name: tmp_path / name for name in EXPORT.reads}
    save(reads["best"], exported.student)
    write_json(reads["state"], exported.sources.training)
    write_json(reads["teacher_card"], exported.sources.teacher)
    write_card(reads["card"], exported.sources.data)
    measured = evaluation()
    measured["provenance"]["weights_sha256"] = sha256_of(reads["best"])
    write_json(reads["evaluation"], measured)
    write_npz(reads["adversarial"], exported.adversarial)
    for name, split in (("test", exported.test), ("validation", exported.validation)):
        for axis in ("x", "y"):
            with reads[f"{name}_{axis}"].open("wb") as file:
                np.save(file, getattr(split, axis))
    writes = {name: tmp_path / "out" / Path(path).name for name, path in EXPORT.writes.items()}
    params = Params.model_construct(export=WANTED.model_copy(update={"opset": 20}))
    work(Opened(EXPORT, ROOT, {"method": "absld", "seed": "0"}, params, reads, writes))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in writes.values())
    card = read_json(writes["card"])
    assert (card["run"], card["student"]["opset"]) == ("absld-s0", 20)
    assert card["student"]["parameters"] == sum(parameter.numel() for parameter in exported.student.parameters())
    assert card["file"]["sha256"] == sha256_of(writes["student"])
    assert card["parity"]["images"] == exported.card["parity"]["images"] == 300 + 40 + 9
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "absld-s0  Square on torch  (100 % done)"


def every_student() -> Iterator[Any]:
    preact = ("preact_resnet18", "preact_resnet18_bare")
    for architecture in ("tiny_resnet16", "tiny_resnet32", "resnet18", *preact, "mobilenet_v2"):
        for channels in (1, 3):
            for size in (8, 32):
                slow = (architecture, channels, size) != ("tiny_resnet16", 3, 8)
                yield pytest.param(architecture, channels, size, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(("architecture", "channels", "size"), every_student())
def test_every_student_agrees_with_its_file(architecture: str, channels: int, size: int) -> None:
    spec = Spec(architecture, classes=7, channels=channels, size=size, normalisation=None)
    student = trained(spec)
    model = to_onnx(student, (channels, size, size), 18, {})
    sets = {"clean": iter([images(16, spec)])}
    assert measure(torch_network(student), onnx_network(model, threads=1), sets)["images"] == 16


@pytest.mark.slow
@pytest.mark.parametrize("opset", [18, 20, 23])
def test_every_operator_set_runs(opset: int) -> None:
    student = trained(SPEC)
    model = to_onnx(student, (1, 8, 8), opset, {})
    measure(torch_network(student), onnx_network(model, threads=1), {"clean": iter([images(16)])})
    assert onnx.load_from_string(model).opset_import[0].version == opset
