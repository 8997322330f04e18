"""The file attacked through ONNX Runtime, and its smaller forms: what is kept has lost next to nothing."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from sklearn.datasets import load_digits
from small_exports import SPEC, WANTED, run_export, trained
from torch.nn import functional as F

from absld.data.dataset import Split, to_images
from absld.evaluation.selection import balanced
from absld.evaluation.telling import Telling
from absld.export.accuracies import smaller as page_of
from absld.export.artefact import _side_by_side, _write, torch_network
from absld.export.attacked import correct, square, transfer
from absld.export.calibration import calibration, passes
from absld.export.onnx_file import to_onnx
from absld.export.parity import Array, Network, onnx_network
from absld.export.smaller import fp16, int8
from absld.export.trial import Trial, trial_of
from absld.export.variants import losses, made, refusal
from absld.networks.zoo import Classifier, Spec, build
from absld.params.export import Square, Variants
from absld.records.files import read_json

EPS = 0.1
BOTH = Variants(fp16=True, int8=True, tolerance=0.05)
SQUARE = Square(n=100, queries=100)
"""Enough for all that is asserted here."""


class Digits(NamedTuple):
    student: Classifier
    model: bytes
    test: Split
    validation: Split
    adversarial: dict[str, np.ndarray]

    @property
    def batches(self) -> list[Array]:
        return calibration(self.student, self.validation, EPS, Telling())

    @property
    def network(self) -> Network:
        return torch_network(self.student)

    @property
    def file(self) -> Network:
        return onnx_network(self.model, threads=1)


@pytest.fixture(scope="module")
def digits() -> Digits:
    """A small network that has learnt digits in a few seconds, and one FGSM step against it."""
    bunch = load_digits()
    pixels = np.rint(bunch.images * 255 / 16).astype(np.uint8)[..., None]
    split = Split(pixels, bunch.target.astype(np.int64))
    test, validation, train = (Split(split.x[part], split.y[part]) for part in (
        slice(300), slice(300, 600), slice(600, None),
    ))  # fmt: skip
    torch.manual_seed(0)
    student = build(Spec("tiny_resnet8", 10, 1, 8, None)).train()
    optimiser = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
    x, y = to_images(train.x), torch.from_numpy(train.y)
    for rows in [*torch.randperm(len(x)).split(64)] * 4:
        optimiser.zero_grad()
        F.cross_entropy(student(x[rows]), y[rows]).backward()
        optimiser.step()
    student.eval().requires_grad_(False)
    index = np.arange(60)
    clean = to_images(test.x[index]).requires_grad_()
    F.cross_entropy(student(clean), torch.from_numpy(test.y[index])).backward()
    x_adv = (clean + EPS * clean.grad.sign()).clamp(0, 1).detach().numpy()
    adversarial = {"fgsm_x": x_adv, "fgsm_y": test.y[index], "fgsm_index": index}
    model = to_onnx(student, (1, 8, 8), 18, {"classes": "[]", "accuracy": "{}"})
    return Digits(student, model, test, validation, adversarial)


@pytest.fixture(scope="module")
def trial(digits: Digits) -> Trial:
    return trial_of(digits.network, digits.test, digits.adversarial, EPS, 10, SQUARE)


def test_square_breaks_the_file_as_it_breaks_torch(digits: Digits, trial: Trial) -> None:
    wide = replace(trial, eps=2 * EPS)
    by_file, by_torch = wide.square(digits.file, "the file"), wide.square(digits.network, "torch")
    assert len(by_file) == SQUARE.n
    assert 0.02 < by_file.mean() < 0.9  # an undefended network: many fall, with so few queries not all of them
    assert abs(int(by_file.sum()) - int(by_torch.sum())) <= 3
    np.testing.assert_array_equal(wide.square(digits.file, "the file"), by_file)


def test_square_leaves_torchs_random_numbers_alone(digits: Digits, trial: Trial) -> None:
    state = torch.random.get_rng_state()
    square(digits.file, (trial.hunted[0][:3], trial.hunted[1][:3]), EPS, 10, queries=5)
    assert torch.equal(torch.random.get_rng_state(), state)


def by_brightness(x: Array) -> Array:
    """Two classes: dark and bright, decided at a mean of 0.5."""
    mean = x.mean((1, 2, 3))
    return np.stack([0.5 - mean, mean - 0.5], 1).astype(np.float32)


# By hand: all pixels may rise or fall by eps, so an image can be carried over 0.5 if its mean lies within eps of it.
@pytest.mark.parametrize(("mean", "holds"), [(0.55, False), (0.69, True), (0.31, True), (0.45, False)])
def test_square_finds_what_there_is_and_no_more(mean: float, holds: bool) -> None:
    x = np.full((4, 1, 8, 8), mean, np.float32)
    y = np.full(4, int(mean > 0.5))
    assert square(by_brightness, (x, y), eps=0.1, classes=2, queries=100).tolist() == [holds] * 4


def test_each_image_is_asked_about_no_more_often_than_said() -> None:
    asked = []

    def counting(x: Array) -> Array:
        asked.append(len(x))
        return by_brightness(x)

    x = np.full((4, 1, 8, 8), 0.9, np.float32)
    assert square(counting, (x, np.ones(4, np.int64)), eps=0.1, classes=2, queries=100).all()
    assert sum(asked) == 4 * (100 + 4)  # before, at its start, each query, at its end, and our own look


def test_square_of_no_image_is_no_image() -> None:
    assert square(by_brightness, (np.zeros((0, 1, 8, 8), np.float32), np.zeros(0, np.int64)), 0.1, 2, 9).tolist() == []


def test_transfer_counts_for_torch_and_file() -> None:
    x = np.array([0.2, 0.4, 0.6, 0.8], np.float32).reshape(4, 1, 1, 1)
    y = np.array([0, 1, 1, 0])  # by_brightness is right on the first and the third; all ones on the second and third
    found = transfer(by_brightness, lambda x: np.tile([[0, 1]], (len(x), 1)), {"pgd": (x, y), "aa": (x[:0], y[:0])})
    assert found == {"pgd": {"n": 4, "torch": 0.5, "file": 0.5}, "aa": {"n": 0, "torch": None, "file": None}}
    assert correct(by_brightness, (np.tile(x, (200, 1, 1, 1)), np.tile(y, 200))).sum() == 400


def test_all_test_images_judge_and_validation_calibrates(digits: Digits, trial: Trial) -> None:
    assert trial.rows.tolist() == list(range(300))
    assert trial.images == {"clean": 300, "stored": 60, "square": 100}
    assert digits.network(trial.hunted[0]).argmax(1).tolist() == trial.hunted[1].tolist()
    assert {int((trial.hunted[1] == label).sum()) for label in range(10)} <= {9, 10, 11}
    clean, attacked = digits.batches
    assert len(clean) == len(attacked) == 100
    of_validation = {image.tobytes() for image in to_images(digits.validation.x).numpy()}
    assert {image.tobytes() for image in clean} <= of_validation
    assert not of_validation & {image.tobytes() for image in to_images(digits.test.x).numpy()}


def test_the_attacked_half_of_the_calibration_is_attacked(digits: Digits) -> None:
    clean, attacked = digits.batches
    moved = np.abs(attacked - clean).reshape(100, -1).max(1)
    assert (moved <= EPS + 1e-6).all()
    assert (moved > 0.9 * EPS).all()
    assert 0 <= attacked.min() <= attacked.max() <= 1
    y = digits.validation.y[balanced(digits.validation.y, 100)]
    right = [float((digits.network(x).argmax(1) == y).mean()) for x in (clean, attacked)]
    assert right[0] > 0.9
    assert right[1] < right[0] - 0.2
    again = digits.batches
    np.testing.assert_array_equal(again[1], attacked)


def test_progress_counts_every_image_that_a_network_looks_at(digits: Digits, trial: Trial) -> None:
    """5 of 30 planned queries are asked; then PGD-10 of 100 images, whose gradients count three times each."""
    told: list[tuple[str, int, int]] = []
    telling = Telling(lambda *message: told.append(message))
    hunted = trial.hunted[0][:6], trial.hunted[1][:6]
    short = replace(trial, hunted=hunted, queries=5, telling=telling)
    telling.plan(short.square_passes + 10 * 100 * 3)
    assert (short.square_passes, passes(digits.validation)) == (30, 3000)
    short.square(digits.file, "the file")
    assert told[-1] == ("Square on the file", 100 * 30 // 3030, 100)
    calibration(digits.student, digits.validation, EPS, telling)
    assert told[-1] == ("calibration of int8", 100, 100)


def test_a_score_is_what_counting_gives(digits: Digits, trial: Trial) -> None:
    score = trial.score(digits.network, "torch", np.array([True, False, False, False]))
    y = digits.test.y[trial.rows]
    right = digits.network(to_images(digits.test.x[trial.rows]).numpy()).argmax(1) == y
    each = [right[y == label].mean() for label in range(10)]
    x, labels = trial.stored["fgsm"]
    assert score == {
        "clean_average": pytest.approx(np.mean(each)),
        "clean_worst": pytest.approx(min(each)),
        "stored": pytest.approx((digits.network(x).argmax(1) == labels).mean()),
        "square": 0.25,
    }


@pytest.mark.parametrize(("form", "share"), [("fp16", 0.6), ("int8", 0.6)])
def test_a_smaller_file_takes_and_gives_the_same(form: str, share: float, digits: Digits) -> None:
    def made_of() -> bytes:
        batches = digits.batches
        return fp16(digits.model, {"a": "b"}) if form == "fp16" else int8(digits.model, {"a": "b"}, batches)

    content = made_of()
    assert made_of() == content
    assert len(content) < share * len(digits.model)
    assert b"/tmp" not in content
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (given,), (back,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(float)", ["batch", 1, 8, 8])
    assert (back.name, back.type, back.shape) == ("logits", "tensor(float)", ["batch", 10])
    assert session.get_modelmeta().custom_metadata_map == {"a": "b"}
    x = to_images(digits.test.x[:7]).numpy()
    z = digits.file(x)
    for batch in (1, 7):
        (found,) = session.run(["logits"], {"images": x[:batch]})
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, z[:batch], atol={"fp16": 0.005, "int8": 0.1}[form] * np.abs(z).max())


def test_half_precision_is_half_precision(digits: Digits) -> None:
    model = onnx.load_from_string(fp16(digits.model, {}))
    assert {tensor.data_type for tensor in model.graph.initializer} <= {
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.INT64,
    }
    assert [node.op_type for node in model.graph.node].count("Cast") == 2


def test_weights_of_int8_are_integers_with_a_scale_for_each_channel(digits: Digits) -> None:
    model = onnx.load_from_string(int8(digits.model, {}, digits.batches))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = tensors["backbone.layer1.conv1.weight_quantized"]
    assert weights.data_type == onnx.TensorProto.INT8
    assert list(tensors["backbone.layer1.conv1.weight_scale"].dims) == [weights.dims[0]]


def test_what_loses_little_is_kept_and_the_rest_left_out(digits: Digits, trial: Trial, tmp_path: Path) -> None:
    """Calibrated on images a thousand times as bright, int8 rounds real ones to nothing."""
    whole = trial.score(digits.file, "the file", trial.square(digits.file, "the file"))
    glaring = [1000 * batch for batch in digits.batches]
    half, blind = made(digits.model, {"classes": "[]", "accuracy": "{}"}, BOTH, trial, whole, glaring, threads=1)
    assert half.kept
    assert half.about["file"] == "student_fp16.onnx"
    assert not blind.kept
    assert blind.about["file"] is None
    assert blind.about["lost"]["clean_average"] > 0.5
    assert "clean average by 0." in blind.about["reason"]
    assert "at most 0.05 is allowed" in blind.about["reason"]
    for entry in (half.about, blind.about):
        for name, lost in entry["lost"].items():
            assert entry["accuracy"][name] == pytest.approx(whole[name] - lost)
    told = onnxruntime.InferenceSession(half.content, providers=["CPUExecutionProvider"]).get_modelmeta()
    assert told.custom_metadata_map == {"classes": "[]", "variant": "fp16"}

    table = page_of({"variants": _side_by_side(digits.model, whole, [half, blind], trial)})
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert [row.split(" | ")[0] for row in rows] == ["| `student.onnx`", "| `variants/student_fp16.onnx`", "| int8"]
    assert rows[1].endswith("| kept |")
    assert "**left out**: lower than student.onnx" in rows[2]


def test_good_calibration_keeps_int8(digits: Digits, trial: Trial) -> None:
    whole = trial.score(digits.file, "the file", trial.square(digits.file, "the file"))
    wanted = Variants(fp16=False, int8=True, tolerance=0.1)
    (small,) = made(digits.model, {}, wanted, trial, whole, digits.batches, threads=1)
    assert small.kept
    assert small.about["reason"] == "no accuracy is more than 0.1 below that of student.onnx"
    assert max(map(abs, small.about["lost"].values())) > 0  # it is another network


def test_a_tolerance_is_kept_to_the_digit() -> None:
    whole = {"clean_average": 0.77, "clean_worst": 0.5, "stored": None, "square": 0.9}
    score = {"clean_average": 0.76, "clean_worst": 0.6, "stored": None, "square": 0.8}
    lost = losses(whole, score)
    assert lost == {
        "clean_average": pytest.approx(0.01), "clean_worst": pytest.approx(-0.1), "stored": None, "square": pytest.approx(0.1),
    }  # fmt: skip
    assert refusal(lost, 0.1) is None
    assert refusal(lost, 0.01) == "lower than student.onnx: accuracy under Square by 0.100; at most 0.01 is allowed"
    assert refusal({"clean_worst": 0.028, "square": 0.02}, 0) == (
        "lower than student.onnx: clean worst class by 0.028, accuracy under Square by 0.020; at most 0 is allowed"
    )


def test_the_folder_holds_what_was_kept_and_nothing_older(
    digits: Digits, trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("absld.export.artefact.card_text", str)
    writes = {name: tmp_path / name for name in ("student", "card", "card_text", "variants")}
    whole = trial.score(digits.file, "the file", trial.square(digits.file, "the file"))
    batches = digits.batches
    lenient = Variants(fp16=True, int8=True, tolerance=1)
    both = list(made(digits.model, {}, lenient, trial, whole, batches, threads=1))
    _write(writes, digits.model, {}, both)
    assert (tmp_path / "variants/student_fp16.onnx").read_bytes() == both[0].content
    assert read_json(tmp_path / "variants/variants.json") == {of.name: of.about for of in both}
    _write(writes, digits.model, {}, both[1:])
    assert sorted(path.name for path in (tmp_path / "variants").iterdir()) == ["student_int8.onnx", "variants.json"]
    assert read_json(tmp_path / "variants/variants.json")["fp16"] is None
    _write(writes, digits.model, {}, [])
    assert sorted(path.name for path in (tmp_path / "variants").iterdir()) == ["variants.json"]


def test_an_export_calibrates_on_validation_and_measures_on_test(tmp_path: Path) -> None:
    both = WANTED.model_copy(update={"variants": Variants(fp16=True, int8=True, tolerance=1)})
    made = run_export(trained(SPEC), tmp_path, wanted=both)
    content = (tmp_path / "variants/student_int8.onnx").read_bytes()
    for split, same in ((made.validation, True), (made.test, False)):
        again = int8(made.model, {}, calibration(made.student, split, EPS, Telling()))
        assert (onnx.load_from_string(again).graph == onnx.load_from_string(content).graph) is same
    told = made.card["variants"]
    assert told["images"] == {"clean": 300, "stored": 49, "square": made.card["onnx"]["square"]["n"]}
    x, y = to_images(made.test.x).numpy(), made.test.y
    stored = [(made.adversarial[f"{attack}_x"], made.adversarial[f"{attack}_y"]) for attack in ("pgd", "aa")]
    page = (tmp_path / "card.md").read_text(encoding="utf-8")
    for form, file in (
        ("fp32", "student.onnx"), ("fp16", "variants/student_fp16.onnx"), ("int8", "variants/student_int8.onnx")
    ):  # fmt: skip
        network = onnx_network((tmp_path / file).read_bytes(), threads=1)
        right = network(x).argmax(1) == y
        each = [right[y == label].mean() for label in range(10)]
        found = told[form]["accuracy"]
        assert found["clean_average"] == pytest.approx(np.mean(each))
        assert found["clean_worst"] == pytest.approx(min(each))
        assert found["stored"] == pytest.approx(np.concatenate([network(a).argmax(1) == b for a, b in stored]).mean())
        cells = [f"{100 * found[name]:.1f}" for name in ("clean_average", "clean_worst", "stored", "square")]
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{file}` |")]
        assert row.split(" | ")[2:6] == cells
    assert made.card["onnx"]["square"]["accuracy"] == told["fp32"]["accuracy"]["square"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "opset"),
    [("resnet18", 18), ("preact_resnet18", 18), ("preact_resnet18_bare", 20), ("mobilenet_v2", 23)],
)
def test_every_student_has_smaller_forms(architecture: str, opset: int) -> None:
    student = build(Spec(architecture, 7, 3, 32, ((0.5,) * 3, (0.25,) * 3))).eval()
    model = to_onnx(student, (3, 32, 32), opset, {})
    x = np.random.default_rng(0).random((8, 3, 32, 32), np.float32)
    z = onnx_network(model, threads=1)(x)
    spread = np.abs(z - z.mean(0)).max() + np.abs(z).max()
    np.testing.assert_allclose(onnx_network(fp16(model, {}), threads=1)(x), z, atol=0.01 * spread)
    small = int8(model, {}, [x])
    assert len(small) < 0.3 * len(model)
    np.testing.assert_allclose(onnx_network(small, threads=1)(x), z, atol=0.25 * spread)
