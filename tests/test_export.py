"""The exported file: what it computes, what it carries and what not; and that of a wrong one nothing is written."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from absld.data.dataset import Card, Split, write_card
from absld.errors import InputError
from absld.evaluation.arrays import write_npz
from absld.export.artefact import Material, export, torch_network
from absld.export.card import Sources
from absld.export.onnx_file import to_onnx
from absld.export.parity import ParityError, compare, measure, onnx_network
from absld.export.text import card_text
from absld.intervals import intervals95
from absld.metrics import ClassTable, accuracies
from absld.networks.weights import load, save
from absld.networks.zoo import Classifier, Spec, build
from absld.params.export import Export, Square, Variants
from absld.params.root import Params
from absld.records.files import read_json, sha256_of, write_json
from stages.contracts import EXPORT
from stages.export import work
from stages.opening import Opened

ROOT = Path(__file__).parents[1]
CLASSES = [*"012345678", "nine|9"]
WANTED = Export.model_construct(
    opset=18, square=Square(n=100, queries=20), variants=Variants(fp16=False, int8=False, tolerance=0.01)
)
"""How strong Square is, is no matter here."""
SPEC = Spec("tiny_resnet16", classes=10, channels=1, size=8, normalisation=((0.3,), (0.25,)))
COUNTS = {"train": dict.fromkeys(CLASSES, 126), "test": dict.fromkeys(CLASSES, 36) | {"8": 35}}
SHA256 = {"test_x.npy": "e" * 64}
ATTACKS = {
    "clean": {},
    "fgsm": {"start": "none"},
    "pgd": {"steps": 20, "step": 0.025, "start": "uniform"},
    "cw": {"steps": 30, "step": 0.025, "start": "uniform"},
    "aa": {"version": "standard"},
}


class Exported(NamedTuple):
    student: Classifier
    sources: Sources
    test: Split
    adversarial: dict[str, Any]
    folder: Path

    @property
    def model(self) -> bytes:
        return (self.folder / "student.onnx").read_bytes()

    @property
    def card(self) -> dict[str, Any]:
        return read_json(self.folder / "card.json")


def trained(spec: Spec) -> Classifier:
    """A network whose BatchNorms have seen something, as after training."""
    torch.manual_seed(7)
    student = build(spec)
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.1, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return student.eval()


def images(n: int, spec: Spec = SPEC) -> np.ndarray:
    return np.random.default_rng(n).random((n, spec.channels, spec.size, spec.size), np.float32)


def evaluation(classes: list[str] = CLASSES) -> dict[str, Any]:
    """Class k is right on 30 − k of 36 clean images; each further attack takes two more."""
    attacks = {}
    for position, (attack, settings) in enumerate(ATTACKS.items()):
        correct = np.maximum(30 - np.arange(len(classes)) - 2 * position, 0)
        table = ClassTable(correct, np.full(len(classes), 36))
        attacks[attack] = {
            "accuracy": accuracies(table, classes),
            "interval95": intervals95(table, classes, seed=0),
            "n": 36 * len(classes),
            "settings": settings,
        }
    return {
        "classes": classes,
        "threat_model": {"norm": "Linf", "eps": 0.1, "eps_text": "0.1"},
        "attacks": attacks,
        "checks": {"square_not_below_apgd": {"passed": True, "detail": "Square found 0 more"}},
        "provenance": {"weights_sha256": "w" * 64, "data_sha256": "d" * 64, "params_sha256": "p", "code_sha256": "c"},
    }


def sources(student: Classifier) -> Sources:
    return Sources(
        run="absld-s0",
        spec=student.spec,
        parameters=1234,
        weights_sha256="w" * 64,
        evaluation=evaluation(),
        training={
            "method": "absld",
            "seed": 0,
            "epochs": 30,
            "best_epoch": 27,
            "select_on": "validation",
            "settings": {"alpha": 5 / 6, "attack": {"eps": 0.1, "start": "gaussian"}, "milestones": [17, 21]},
            "train": {"device": "auto", "augmentation": {"crop_padding": 1}, "validation": {"steps": 7}},
        },
        data=Card("digits", CLASSES, "digits", 1, 8, COUNTS, SHA256, "scikit-learn", "CC BY 4.0", "stratified", None),
        teacher={
            "architecture": "tiny_resnet32",
            "parameters": 5678,
            "source": "trained here with trades",
            "sha256": None,
            "trust": "trained here",
            "licence": "your own",
            "accuracy": {"pgd": {"accuracy": {"average": 0.7125, "worst": 0.5}}},
        },
        opset=18,
        params_sha256="ep",
        code_sha256="ec",
    )


def run_export(student: Classifier, folder: Path, **changes: Any) -> Exported:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 1), np.uint8)
    test = Split(pixels, np.arange(300) % 10)
    adversarial = {
        "pgd_x": images(40),
        "pgd_y": np.arange(40) % 10,
        "pgd_index": np.arange(40),
        "aa_x": images(9),
        "aa_y": np.arange(9),
        "aa_index": np.arange(9),
    }
    made = Exported(student, replace(sources(student), **changes), test, adversarial, folder)
    writes = {name: folder / Path(path).name for name, path in EXPORT.writes.items()}
    export(student, made.sources, Material(test, test, adversarial), WANTED, writes)
    return made


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return run_export(trained(SPEC), tmp_path_factory.mktemp("export"))


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


@pytest.mark.parametrize("size", [2, 7, 256])
def test_an_error_at_one_batch_size_is_found(exported: Exported, size: int) -> None:
    network = torch_network(exported.student)

    def wrong_at_size(x: np.ndarray) -> np.ndarray:
        return -network(x) if len(x) == size else network(x)

    with pytest.raises(ParityError, match=rf"on aa images: in batches of {size}:"):
        measure(network, wrong_at_size, {"aa": iter([images(9)])})


def test_an_error_in_a_later_batch_is_found(exported: Exported) -> None:
    network = torch_network(exported.student)
    odd = images(3)

    def wrong_on_odd(x: np.ndarray) -> np.ndarray:
        return -network(x) if np.array_equal(x, odd) else network(x)

    with pytest.raises(ParityError, match="on pgd images: 3 of 3 labels"):
        measure(network, wrong_on_odd, {"clean": iter([images(5)]), "pgd": iter([images(4), odd])})


def test_perturbed_weights_are_found(exported: Exported) -> None:
    other = trained(SPEC)
    with torch.no_grad():
        other.backbone.get_parameter("linear.weight").mul_(1.01)
    with pytest.raises(ParityError, match="0 of"):
        measure(torch_network(other), onnx_network(exported.model, threads=1), {"clean": iter([images(20)])})


# The bound at a largest logit of 1 is 1e-5 + 1e-4 = 1.1e-4.
@pytest.mark.parametrize(
    ("expected", "found", "tolerated"),
    [
        ([1.0, 0.9999, 0.0], [0.9999, 1.0, 0.0], 1),
        ([1.0, 1.0, 0.0], [0.9999, 1.0, 0.0], 1),
        ([1.0, 0.5, 0.0], [1.0001, 0.5, 0.0001], 0),
    ],
)
def test_ties_within_rounding_are_tolerated_and_counted(
    expected: list[float], found: list[float], tolerated: int
) -> None:
    agreement = compare(np.array([expected, [3, 2, 1]], np.float32), np.array([found, [3, 2, 1]], np.float32))
    assert (agreement.images, agreement.labels_tolerated) == (2, tolerated)
    assert agreement.max_difference == pytest.approx(1e-4, rel=1e-2)


@pytest.mark.parametrize(
    ("expected", "found", "message"),
    [
        ([1.0, 0.9998, 0.0], [0.99989, 0.9999, 0.0], "1 of 1 labels"),  # margin 2e-4, each logit within the bound
        (
            [1.0, 0.5, 0.0],
            [1.0, 0.5, 0.0002],
            "0 of 1 labels differ and the largest difference of two logits is 0.0002",
        ),
        ([1.0, 0.5, 0.0], [1.0, 0.5, np.nan], "not finite"),
        ([np.inf, 0.5, 0.0], [np.inf, 0.5, 0.0], "not finite"),
        ([1.0, 0.5, 0.0], [1.0, 0.5], "shape"),
    ],
)
def test_anything_more_is_refused(expected: list[float], found: list[float], message: str) -> None:
    with pytest.raises(ParityError, match=message):
        compare(np.array([expected], np.float32), np.array([found], np.float32))


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.integers(2, 30))
def test_rounding_is_never_refused(seed: int, scale: float, classes: int) -> None:
    random = np.random.default_rng(seed)
    z = (scale * random.standard_normal((20, classes))).astype(np.float32)
    z[::2, 1] = z[::2, 0]  # ties, which any rounding breaks
    noise = 0.4e-4 * np.abs(z).max(1, keepdims=True) * random.uniform(-1, 1, z.shape).astype(np.float32)
    assert compare(z, z + noise).labels_tolerated == int((z.argmax(1) != (z + noise).argmax(1)).sum())


def test_parity_counts_every_image_once(exported: Exported) -> None:
    parity = exported.card["parity"]
    assert {name: agreement["images"] for name, agreement in parity["sets"].items()} == {
        "clean": 300,
        "pgd": 40,
        "aa": 9,
    }
    assert parity["images"] == 349
    assert 0 < parity["max_difference"] < 1e-4
    assert parity["batch_sizes"] == [1, 2, 7, 256]


def test_the_card_describes_the_file_and_copies_the_evaluation(exported: Exported) -> None:
    card = exported.card
    assert card["file"] == {
        "name": "student.onnx",
        "bytes": len(exported.model),
        "sha256": hashlib.sha256(exported.model).hexdigest(),
    }
    assert card["attacks"] == exported.sources.evaluation["attacks"]
    assert card["training"]["epoch"] == 27
    assert card["teacher"]["accuracy"] == {"pgd": {"average": 0.7125, "worst": 0.5}}
    assert card["training"]["train"] == exported.sources.training["train"]
    assert card["data"]["sha256"] == SHA256
    assert card["data"]["counts"]["test"]["8"] == 35
    assert card["variants"] is None


def test_the_card_has_what_was_measured_on_the_file(exported: Exported) -> None:
    """Square began with images that torch classifies correctly; the examples are those that were stored."""
    measured = exported.card["onnx"]
    network = torch_network(exported.student)
    for attack, n in {"pgd": 40, "aa": 9}.items():
        x, y = exported.adversarial[f"{attack}_x"], exported.adversarial[f"{attack}_y"]
        right = float((network(x).argmax(1) == y).mean())
        assert measured["transfer"][attack] == {"n": n, "torch": pytest.approx(right), "file": pytest.approx(right)}
    square = measured["square"]
    assert square["queries"] == 20
    assert 0 < square["n"] <= 100
    assert square["accuracy"] == pytest.approx(square["torch_accuracy"], abs=0.1)


def test_the_page_holds_the_numbers(exported: Exported) -> None:
    page = (exported.folder / "card.md").read_text(encoding="utf-8")
    assert "**70.8 %** on average over the classes and **58.3 %** on the weakest, nine\\|9" in page
    assert "under AutoAttack within L∞ 0.1 it is **48.6 %** on average over the classes and **36.1 %**" in page
    rows = {line.split(" | ")[0]: line for line in page.splitlines() if line.startswith("| ")}
    assert rows["| PGD-20"].startswith("| PGD-20 | 360 | 59.7 (")
    assert rows["| nine\\|9"].count("**") == 2 * len(ATTACKS)  # the lowest class in every column
    assert hashlib.sha256(exported.model).hexdigest() in page
    assert len(page) < 8000  # MLflow shows no longer one on a run's page


def test_the_snippet_of_the_page_runs(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (exported.folder / "card.md").read_text(encoding="utf-8")
    snippet = page.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(exported.folder)
    printed = StringIO()
    with redirect_stdout(printed):
        exec(snippet, {})
    black = torch_network(exported.student)(np.zeros((1, 1, 8, 8), np.float32))
    assert printed.getvalue() == f"[{CLASSES[int(black.argmax())]!r}]\n"


def test_the_page_says_what_must_be_said(exported: Exported) -> None:
    card = exported.card
    page = card_text(card)
    assert "chosen on the test images" not in page
    assert "| square\\_not\\_below\\_apgd | passed | Square found 0 more |" in page
    assert "changes each value of an image by at most 0.1, within [0, 1] (L∞ 0.1)" in page
    assert "| Settings | alpha 0.8333, attack (eps 0.1, start gaussian), milestones 17 21 |" in page
    assert "| Augmentation | crop\\_padding 1 |" in page
    assert "| Licences | data CC BY 4.0; teacher your own |" in page
    assert "digits, 1,260 images trained on: scikit-learn" in page
    assert "Under AutoAttack the accuracy of a class rests on 36 images on average" in page
    assert "absld repro export@absld-0\nsha256sum runs/absld-s0/export/student.onnx" in page
    assert "## Smaller files" not in page
    card["training"]["select_on"] = "test"
    card["checks"]["square_not_below_apgd"] = {"passed": False, "detail": "Square found 4 more"}
    page = card_text(card)
    assert "**The epoch was chosen on the test images**" in page
    assert "**1 of 1 failed: the accuracies may be too good.**" in page
    assert "| square\\_not\\_below\\_apgd | **failed** | Square found 4 more |" in page
    card["attacks"] = {"clean": card["attacks"]["clean"]}
    assert "**It was not attacked**" in card_text(card)
    card["parity"]["labels_tolerated"] = 2
    assert "On 2 of them the label differs" in card_text(card)


def test_of_many_classes_the_page_shows_the_weakest(exported: Exported) -> None:
    names = [f"class {k}" for k in range(100)]
    many = evaluation(names)
    page = card_text({**exported.card, "classes": names, "attacks": many["attacks"]})
    rows = [line for line in page.splitlines() if line.startswith("| class ")]
    assert len(rows) == 20
    assert "class 0 " not in "".join(rows)
    assert "mean of the worst tenth" in page


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
    for axis in ("test_x", "test_y", "validation_x", "validation_y"):
        with reads[axis].open("wb") as file:
            np.save(file, exported.test.x if axis.endswith("x") else exported.test.y)
    writes = {name: tmp_path / "out" / Path(path).name for name, path in EXPORT.writes.items()}
    params = Params.model_construct(export=WANTED.model_copy(update={"opset": 20}))
    work(Opened(EXPORT, ROOT, {"method": "absld", "seed": "0"}, params, reads, writes))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in writes.values())
    card = read_json(writes["card"])
    assert (card["run"], card["student"]["opset"]) == ("absld-s0", 20)
    assert card["student"]["parameters"] == sum(parameter.numel() for parameter in exported.student.parameters())
    assert card["file"]["sha256"] == sha256_of(writes["student"])
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
