"""`absld evaluate`: models that were not trained here get the verdicts that the pipeline would give them."""

import io
import json
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from projects import Project, found
from rich.console import Console
from torch import nn

from absld.attacks import autoattack
from absld.data.card import Card
from absld.data.dataset import Split, read_card, read_split, to_images
from absld.data.fetch import fetch
from absld.errors import InputError
from absld.evaluation.arrays import Arrays, read_npz, write_npz
from absld.evaluation.evaluate import Evaluation, evaluate
from absld.evaluation.examples import Examples
from absld.evaluation.forward import Forward
from absld.evaluation.overrides import overridden
from absld.evaluation.verdicts import Kept
from absld.export.foreign import open_network
from absld.networks.given import read_given
from absld.networks.weights import load, save
from absld.networks.zoo import Classifier, Spec, build
from absld.params.load import load as load_params
from absld.records.files import sha256_of
from pipeline import compare
from pipeline.evaluate import Model, remarks, table
from pipeline.evaluate import run as evaluate_command
from pipeline.settings import edited
from stages import evaluate_model
from stages.contracts import CARD, DATA

ROOT = Path(__file__).parents[1]
STANDARD = autoattack.standard
SMALL = (
    "evaluate.attacks.fgsm=null",
    "evaluate.attacks.pgd.n=30",
    "evaluate.attacks.pgd.steps=5",
    "evaluate.attacks.cw=null",
    "evaluate.attacks.aa.n=20",
    "evaluate.chunk=120",
    "evaluate.curves=null",
    "evaluate.keep=20",
    "train.device=cpu",
)
NORMALISATION = ((0.3,), (0.4,))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the digits fetched and nothing else."""
    root = tmp_path_factory.mktemp("project")
    profile = (ROOT / "pipeline/profiles/digits.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(edited(profile, SMALL), encoding="utf-8")
    for name in ("src", "stages"):
        (root / name).symlink_to(ROOT / name)
    fetch(load_params(root / "params.yaml").data, root, {name: root / path for name, path in (DATA | CARD).items()})
    return root


@pytest.fixture(scope="module")
def data(project: Path) -> tuple[Split, Card]:
    return read_split(project / DATA["test_x"], project / DATA["test_y"]), read_card(project / CARD["card"])


@pytest.fixture(scope="module")
def network(project: Path) -> Classifier:
    """It knows most digits, and small attacks fool it on some."""
    train = read_split(project / DATA["train_x"], project / DATA["train_y"])
    x, y = to_images(train.x), torch.from_numpy(train.y.copy())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(Spec("tiny_resnet8", 10, 1, 8, NORMALISATION)).train()
        for rows in torch.randint(len(y), (40, 100)):
            point = (x[rows] + 0.1 * torch.randn_like(x[rows])).clamp(0, 1)
            loss = nn.functional.cross_entropy(net(point), y[rows])
            gradients = torch.autograd.grad(loss, list(net.parameters()))
            with torch.no_grad():  # torch.optim takes seconds to import, more than this training
                for parameter, gradient in zip(net.parameters(), gradients, strict=True):
                    parameter -= 0.3 * gradient
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def files(network: Classifier, project: Path) -> dict[str, Path]:
    """The network as a file of ours, as somebody else's checkpoint, and as ONNX by an exporter that is not ours."""
    found = {name: project / name for name in ("ours.safetensors", "theirs.pt", "theirs.onnx")}
    save(found["ours.safetensors"], network)
    state = {f"module.{name}": value for name, value in network.backbone.state_dict().items()}
    torch.save({"net": state, "epoch": 7}, found["theirs.pt"])
    torch.onnx.export(
        network, (torch.zeros(2, 1, 8, 8),), found["theirs.onnx"], dynamo=False, opset_version=18,
        input_names=["pixels"], output_names=["scores"], dynamic_axes={"pixels": {0: "n"}, "scores": {0: "n"}},
    )  # fmt: skip
    return {path.suffix[1:]: path for path in found.values()}


@pytest.fixture(scope="module", autouse=True)
def _short_and_alone() -> Iterator[None]:
    """AutoAttack's parts with few iterations; helpers would have a torch without that change."""

    def shorter(*arguments: Any) -> dict[str, Any]:
        parts = STANDARD(*arguments)
        for part in parts.values():
            part.n_iter, part.n_queries = 3, 60
        return parts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoattack, "standard", shorter)
        patch.setattr(evaluate_model, "worthwhile", lambda device: 1)
        yield


@pytest.fixture(scope="module")
def expected(network: Classifier, data: tuple[Split, Card], project: Path) -> Evaluation:
    """What the stage would find: it hands the same things to the same function."""
    split, card = data
    return evaluate(network, None, split, card.classes, load_params(project / "params.yaml").evaluate)


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.chdir(project)

    def run(*arguments: object) -> int:
        with pytest.raises(SystemExit) as ended:
            evaluate_model.main([str(argument) for argument in arguments])
        return int(ended.value.code or 0)

    return run


def written(project: Path, name: str) -> tuple[dict[str, Any], Arrays, Arrays]:
    folder = project / "evaluations" / name
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    return evaluation, read_npz(folder / "verdicts.npz"), read_npz(folder / "adversarial.npz")


def assert_same(one: Arrays, other: Arrays) -> None:
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


# weights -------------------------------------------------------------------------------------------------------------


def test_a_file_of_ours_says_what_it_is(
    run: Callable[..., int], project: Path, files: dict[str, Path], expected: Evaluation
) -> None:
    assert run("--weights", files["safetensors"], "--name", "ours") == 0
    evaluation, verdicts, adversarial = written(project, "ours")
    assert_same(verdicts, expected.verdicts)
    assert_same(adversarial, expected.adversarial)
    assert evaluation["attacks"] == json.loads(json.dumps(expected.attacks))
    assert set(evaluation["attacks"]) == {"clean", "pgd", "aa"}
    assert 0 < verdicts["pgd"].sum() < len(verdicts["pgd"])
    assert evaluation["model"] == {
        "file": "ours.safetensors",
        "architecture": "tiny_resnet8",
        "normalisation": [[0.3], [0.4]],
        "white_box": True,
    }
    assert not list((project / ".absld/scratch").glob("*"))
    assert str(project) not in (project / "evaluations/ours/evaluation.json").read_text()


def test_a_checkpoint_of_others_needs_its_architecture_and_normalisation(
    run: Callable[..., int], project: Path, files: dict[str, Path], expected: Evaluation
) -> None:
    named = ("--weights", files["pt"], "--name", "theirs", "--arch", "tiny_resnet8")
    assert run(*named, "--mean", "0.3", "--std", "0.4") == 0
    _, verdicts, _ = written(project, "theirs")
    assert_same(verdicts, expected.verdicts)


def test_attacks_and_radius_by_name(
    run: Callable[..., int], project: Path, files: dict[str, Path], data: tuple[Split, Card], network: Classifier
) -> None:
    """The test images of params.yaml, named as a folder, are the same images."""
    named = ("--weights", files["safetensors"], "--attack", "square", "--attack", "apgd_ce", "--eps", "1/20")
    assert run(*named, "--name", "parts", "--data", project / "data/dataset") == 0
    evaluation, verdicts, _ = written(project, "parts")
    settings = overridden(load_params(project / "params.yaml").evaluate, ["apgd_ce", "square"], 0.05)
    assert_same(verdicts, evaluate(network, None, data[0], data[1].classes, settings).verdicts)
    assert list(evaluation["attacks"]) == ["clean", "aa"]
    aa = evaluation["attacks"]["aa"]["settings"]
    assert (aa["standard"], aa["version"]) == (False, "standard without APGD-T, FAB-T")
    assert list(aa["parts"]) == ["apgd_ce", "square"]
    assert evaluation["threat_model"] == {"norm": "Linf", "eps": 0.05, "eps_text": "0.05"}
    assert evaluation["overrides"] == {"attacks": ["square", "apgd_ce"], "eps": 0.05}
    assert evaluation["data"]["sha256"] == {
        name: sha256_of(project / f"data/dataset/{name}") for name in ("test_x.npy", "test_y.npy")
    }
    assert run(*named, "--name", "own") == 0
    own, _, _ = written(project, "own")
    assert own["data"] is None
    assert own["attacks"] == evaluation["attacks"]
    for name in ("data_sha256", "params_sha256"):
        assert own["provenance"][name] == evaluation["provenance"][name]
    console = Console(width=120, record=True)
    console.print(table(evaluation))
    assert "AutoAttack (APGD-CE, Square only)" in " ".join(console.export_text().split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--weights nothing.pt --arch resnet18", "there is no file nothing.pt"),
        ("--weights theirs.pt", "name the architecture, one of resnet18"),
        ("--weights theirs.pt --arch tiny_resnet16", "the weights do not fit tiny_resnet16"),
        ("--weights theirs.pt --arch tiny_resnet9", "unknown architecture 'tiny_resnet9'"),
        ("--weights theirs.pt --arch tiny_resnet8 --mean 0.3", "--mean and --std belong together"),
        ("--weights theirs.pt --arch tiny_resnet8 --mean 0.3 --std zero", "write a number for each channel"),
        ("--weights theirs.pt --arch tiny_resnet8 --mean 0.3 --std 0", "a standard deviation is above 0"),
        ("--weights theirs.pt --arch tiny_resnet8 --mean nan --std 0.4", "means and standard deviations are finite"),
        ("--weights theirs.pt --arch tiny_resnet8 --mean 0.3 --std inf", "means and standard deviations are finite"),
        ("--weights theirs.pt --arch tiny_resnet8 --mean 0.3,0.3 --std 0.4,0.4", "one mean and one std per channel"),
        ("--weights ours.safetensors --arch tiny_resnet16", "says of itself: architecture tiny_resnet8, not"),
        ("--weights ours.safetensors --mean 0.5 --std 0.5", "says of itself: normalisation"),
        ("--weights params.yaml --arch tiny_resnet8", "neither safetensors nor what torch.save writes"),
        ("--weights ours.safetensors --attack cw", "evaluate.attacks.cw is null in params.yaml"),
        ("--weights ours.safetensors --size 8", "--size and --channels are for the image files of --data"),
        ("--onnx theirs.onnx --attack square --attack pgd", "--attack pgd needs gradients"),
        ("--onnx nothing.onnx", "there is no file nothing.onnx"),
        ("--onnx theirs.pt", "is no ONNX file that can be run"),
        ("--onnx theirs.onnx --adversarial params.yaml", "cannot be read as an .npz"),
        ("--onnx theirs.onnx --weights theirs.pt", "not allowed with argument"),
    ],
)
def test_what_does_not_fit_is_told_and_ends_with_2(
    run: Callable[..., int], project: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str],
    options: str, said: str,
) -> None:  # fmt: skip
    assert run(*options.split(), "--name", "wrong") == 2
    assert said in capsys.readouterr().err
    assert not (project / "evaluations/wrong").exists()


def test_another_model_does_not_take_a_name_that_is_taken(
    run: Callable[..., int], project: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project / "evaluations/taken"
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text('{"provenance": {"weights_sha256": "0"}}')
    assert run("--weights", files["pt"], "--arch", "tiny_resnet8", "--name", "taken") == 2
    assert "is the evaluation of another file" in capsys.readouterr().err


def test_a_name_belongs_to_one_network_whatever_its_file_is_called(
    run: Callable[..., int], project: Path, files: dict[str, Path], expected: Evaluation,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The same weights behind another normalisation are another network, and so are others' examples other numbers."""
    write_npz(project / "few.npz", expected.adversarial)
    weights = ("--weights", files["pt"], "--arch", "tiny_resnet8", "--attack", "pgd", "--name", "one")
    onnx = ("--onnx", files["onnx"], "--name", "two")
    for named, changed, options in (
        (weights, ("--mean", "0.3", "--std", "0.4"), "--arch, --mean or --std"),
        (onnx, ("--adversarial", "few.npz"), "--adversarial"),
    ):
        assert run(*named) == 0
        before, _, _ = written(project, named[-1])
        capsys.readouterr()
        assert run(*named, *changed) == 2
        assert f"evaluations/{named[-1]} is an evaluation with other {options}: give --name" in capsys.readouterr().err
        assert written(project, named[-1])[0] == before
    (project / "again.pt").write_bytes(files["pt"].read_bytes())
    assert run("--weights", "again.pt", *weights[2:]) == 0


def test_a_name_belongs_to_one_set_of_images_whatever_params_says(
    run: Callable[..., int], project: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    named = ("--weights", files["safetensors"], "--attack", "pgd", "--name", "before")
    assert run(*named) == 0
    x, aside = project / DATA["test_x"], project / "aside.npy"
    capsys.readouterr()
    x.rename(aside)
    try:
        x.write_bytes(aside.read_bytes()[:-1] + b"\x01")
        assert run(*named) == 2
    finally:
        aside.replace(x)
    said = capsys.readouterr().err
    assert "evaluations/before is an evaluation on other images than those of params.yaml: give --name" in said


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"provenance": 1}', "\xff"])
def test_a_folder_of_something_else_is_told(
    run: Callable[..., int], project: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file = project / "evaluations/spoilt/evaluation.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode("latin-1"))
    assert run("--weights", files["safetensors"], "--name", "spoilt") == 2
    said = capsys.readouterr().err
    assert "evaluations/spoilt/evaluation.json cannot be read as an evaluation: give --name another name" in said


def test_missing_data_is_told(
    run: Callable[..., int], project: Path, tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "params.yaml").write_text((project / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    assert run("--weights", files["safetensors"], "--name", "a") == 2
    assert "data/dataset/test_x.npy is missing: `absld repro fetch_data` makes it" in capsys.readouterr().err


def test_a_file_for_other_images_is_refused(tmp_path: Path, network: Classifier) -> None:
    save(tmp_path / "a.safetensors", network)
    with pytest.raises(InputError, match=r"says of itself: classes 10, not 3; channels 1, not 3; size 8, not 32"):
        read_given(tmp_path / "a.safetensors", None, None, classes=3, channels=3, size=32)


# ONNX ----------------------------------------------------------------------------------------------------------------


def test_an_onnx_file_is_asked_and_never_differentiated(
    run: Callable[..., int], project: Path, files: dict[str, Path], expected: Evaluation
) -> None:
    write_npz(project / "examples.npz", expected.adversarial)
    assert run("--onnx", files["onnx"], "--adversarial", "examples.npz", "--name", "onnx") == 0
    evaluation, verdicts, adversarial = written(project, "onnx")
    assert list(evaluation["attacks"]) == ["clean", "square", "transfer"]
    np.testing.assert_array_equal(verdicts["clean"], expected.verdicts["clean"])
    assert evaluation["attacks"]["clean"]["accuracy"] == expected.attacks["clean"]["accuracy"]
    assert (evaluation["attacks"]["square"]["n"], evaluation["attacks"]["transfer"]["n"]) == (20, 20)
    assert verdicts["square"].sum() < verdicts["clean"][verdicts["square_index"]].sum()
    # the examples of PGD are of the first 20 images; those of AutoAttack among them fooled the network, so they do here
    rows = expected.adversarial["pgd_index"]
    np.testing.assert_array_equal(verdicts["transfer_index"], rows)
    pgd = dict(zip(expected.verdicts["pgd_index"].tolist(), expected.verdicts["pgd"], strict=True))
    by_hand = [pgd[row] and row not in expected.adversarial["aa_index"] for row in rows.tolist()]
    np.testing.assert_array_equal(verdicts["transfer"], by_hand)
    parts = evaluation["attacks"]["transfer"]["settings"]["parts"]
    assert parts["aa"] == {"n": len(expected.adversarial["aa_index"]), "accuracy": 0.0}
    assert evaluation["model"]["white_box"] is False
    assert any("No white-box attack was run" in remark for remark in remarks(evaluation))
    assert np.abs(adversarial["square_x"] - to_images(read_split(project / DATA["test_x"], project / DATA["test_y"]).x).numpy()[adversarial["square_index"]]).max() <= 0.1 + 1e-6  # fmt: skip


def linear(
    tmp_path: Path,
    batch: int | str,
    last: tuple[str, str] = ("Identity", "z"),
    *,
    size: int = 8,
    told: int | str | None = None,
    classes: int = 10,
    kind: int = TensorProto.FLOAT,
) -> Path:
    """An ONNX file that no exporter of ours made: one linear layer, and `last`, an operator on ``x`` or ``z``.

    `told` is what it says of its size, and of what comes out, which is of type `kind`, it tells the rank alone.
    """
    weights = np.random.default_rng(0).normal(size=(size * size, classes)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["z"]),
        helper.make_node(last[0], [last[1]], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1, told or size, told or size])],
        [helper.make_tensor_value_info("out", kind, [*"abcd"] if last[1] == "x" else [*"ab"])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    path = tmp_path / "linear.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("batch", [1, 3, "any"])
def test_a_file_with_a_fixed_batch_gets_it(tmp_path: Path, data: tuple[Split, Card], batch: int | str) -> None:
    x = to_images(data[0].x[:7]).numpy()
    weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    found = open_network(linear(tmp_path, batch), data[1], 1)(x)
    np.testing.assert_allclose(found, x.reshape(7, 64) @ weights, rtol=1e-4, atol=1e-4)


def test_a_file_for_other_images_is_no_use(tmp_path: Path, data: tuple[Split, Card]) -> None:
    with pytest.raises(InputError, match=r"takes tensor\(float\) \[1, 1, 16, 16\], and digits has float32 images"):
        open_network(linear(tmp_path, 1, size=16), data[1], 1)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (
            {"last": ("ArgMax", "z"), "kind": TensorProto.INT64},
            r"two images with tensor\(int64\) \[1, 10\], and logits",
        ),
        (
            {"last": ("Identity", "x")},
            r"tensor\(float\) \[2, 1, 8, 8\], and logits are tensor\(float\) \[2, 10\]: export",
        ),
        ({"last": ("Transpose", "z")}, r"two images with tensor\(float\) \[10, 2\]"),
        ({"size": 16, "told": "side"}, r"fails on images of digits: .*: choose the data that it was trained for"),
        ({"classes": 4}, "tells 4 classes apart, and digits has 10"),
    ],
)
def test_a_file_that_makes_no_logits_is_told_at_once(
    tmp_path: Path, data: tuple[Split, Card], file: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=rf"(?s)linear\.onnx .*{said}"):
        open_network(linear(tmp_path, "any", **file), data[1], 1)


def test_a_file_that_gives_probabilities_is_refused_with_1(
    run: Callable[..., int], project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--onnx", linear(tmp_path, "any", ("Softmax", "z")), "--name", "softmax") == 1
    assert "look like probabilities" in capsys.readouterr().err
    assert not (project / "evaluations/softmax").exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda a: a | {"pgd_x": a["pgd_x"] + np.float32(0.3)}, "left the ball"),
        (lambda a: a | {"pgd_y": (a["pgd_y"] + 1) % 10}, "are of another data set"),
        (lambda a: {"pgd_x": a["pgd_x"], "pgd_y": a["pgd_y"]}, "has pgd_x but not pgd_index"),
        (lambda a: a | {"pgd_x": a["pgd_x"].astype(np.float64)}, "must be float32"),
        (lambda a: {"y": a["pgd_y"]}, "holds no adversarial examples"),
        (lambda a: a | {"pgd_index": a["pgd_index"].astype(float)}, r"pgd_index float64 \(20,\): they must be"),
        (lambda a: a | {"pgd_index": a["pgd_index"][None]}, r"pgd_index int64 \(1, 20\): they must be"),
        (lambda a: a | {"pgd_index": a["pgd_index"][:0], "pgd_y": a["pgd_y"][:0]}, r"pgd_index int64 \(0,\)"),
        (lambda a: a | {"pgd_x": a["pgd_x"][0, 0, 0, 0]}, r"pgd_x is float32 \(\)"),
        (
            lambda a: a | {key: a[key][a["pgd_y"] % 7 > 0] for key in ("pgd_x", "pgd_y", "pgd_index")},
            r"a\.npz has no example of 0, 7, so no accuracy .* evaluate\.keep in params\.yaml is 10 or more",
        ),
    ],
)
def test_examples_of_something_else_are_refused(
    tmp_path: Path, data: tuple[Split, Card], expected: Evaluation, spoil: Callable[[Arrays], Arrays], said: str
) -> None:
    write_npz(tmp_path / "a.npz", spoil(expected.adversarial))
    with pytest.raises(InputError, match=said):
        Examples.read(tmp_path / "a.npz", data[0], 0.1, data[1].classes)


def bytes_of(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "No data left in file"),
        (bytes_of(aa_x=np.zeros(9))[:-9], "File is not a zip file"),
        (zipped("aa_x.npy", b"no array"), "aa_x in it is no array"),
        (bytes_of(aa_x=np.zeros(999)).replace(bytes(999), bytes(998) + b"1"), "Bad CRC-32"),
        (
            b"\x93NUMPY\x01\x00\x36\x00{'descr': '<f4', 'fortran_order': False, 'shape': ()}\n" + bytes(4),
            "single array",
        ),
    ],
    ids=["empty", "cut", "text", "damaged", "npy"],
)
def test_what_is_no_file_of_examples_is_told(
    tmp_path: Path, data: tuple[Split, Card], content: bytes, said: str
) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.npz cannot be read as an \.npz .*{said}.*: give the adversarial\.npz"):
        Examples.read(tmp_path / "a.npz", data[0], 0.1, data[1].classes)


def test_without_unbiased_examples_those_that_fooled_count(
    data: tuple[Split, Card], network: Classifier, expected: Evaluation
) -> None:
    examples = Examples({"aa": Kept(expected.adversarial["aa_index"], expected.adversarial["aa_x"])})
    assert not examples.verdict(Forward(network), data[0], 10, 7).survived.any()


# the command line ----------------------------------------------------------------------------------------------------


def model(**named: Any) -> Model:
    keys = [field.name for field in fields(Model)]
    return Model(**{"attacks": (), **{key: named.get(key) for key in keys if key != "attacks" or key in named}})


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({}, "give one model"),
        ({"weights": Path("a.pt"), "onnx": Path("a.onnx")}, "give one model"),
        ({"weights": Path("a.pt")}, "there is no file a.pt"),
        ({"weights": Path(__file__), "architecture": "resnet81"}, "did you mean 'resnet18'"),
        ({"weights": Path(__file__), "name": "../up"}, "a folder's name"),
        ({"weights": Path(__file__), "adversarial": Path(__file__)}, "--adversarial is for --onnx"),
        ({"onnx": Path(__file__), "architecture": "resnet18"}, "are for --weights"),
        ({"onnx": Path(__file__), "adversarial": Path("a.npz")}, "there is no file a.npz"),
        ({"weights": Path(__file__), "attacks": ("pdg",)}, "--attack pdg: unknown, did you mean 'pgd'"),
        ({"onnx": Path(__file__), "attacks": ("square", "aa")}, "--attack aa needs gradients, .* ask for square"),
        ({"weights": Path(__file__), "eps": "8"}, "--eps 8: pixels lie in .0, 1. here: did you mean 8/255"),
        ({"weights": Path(__file__), "eps": "8/x"}, "--eps 8/x: not a number or a fraction like 8/255"),
        ({"weights": Path(__file__), "data": Path("nowhere")}, "--data: there is no folder nowhere"),
        ({"weights": Path(__file__), "size": 32}, "--size and --channels are for the image files of --data"),
        ({"weights": Path(__file__), "data": Path(), "channels": 2}, "--channels 2: 1 is grey, 3 is colour"),
    ],
)
def test_what_can_be_known_at_once_is_told_at_once(named: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        model(**named).check()


def test_an_evaluation_that_is_killed_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As by a system that runs out of memory."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/__init__.py").touch()
    (tmp_path / "stages/evaluate_model.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    assert evaluate_command(tmp_path, model(weights=Path(__file__), name="mine", data=tmp_path)) == 1
    said = capsys.readouterr().err
    assert "The evaluation was ended by signal 9 (Killed)" in said
    assert "set evaluate.chunk lower" in said


def test_the_table_and_the_comparison(
    run: Callable[..., int], project: Path, files: dict[str, Path], expected: Evaluation
) -> None:
    for name in ("first", "second"):
        assert run("--onnx", files["onnx"], "--name", name) == 0
    evaluation, _, _ = written(project, "first")
    console = Console(width=120, record=True)
    console.print(table(evaluation))
    shown = console.export_text()
    assert "Square" in shown
    assert f"{100 * expected.attacks['clean']['accuracy']['average']:.1f}" in shown
    assert "digits: percent within L∞ eps 0.1; Clean images n = 360, Square n = 20" in " ".join(shown.split())
    console.print(compare.view(project, ["first", str(project / "evaluations/second")], None))
    assert "Square" in console.export_text()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_absld_evaluate_as_a_user_meets_it(tmp_path: Path, network: Classifier, files: dict[str, Path]) -> None:
    """It fetches the data, goes on after it was stopped, writes the same again, and leaves git clean."""
    project = Project.new(tmp_path / "project", ["evaluate.attacks.aa.n=20", "evaluate.curves=null"])
    named = ("evaluate", "--weights", str(files["safetensors"]), "--name", "mine")
    assert "there is no file" in project.absld("evaluate", "--weights", "nothing.pt", code=2)
    folder = project.folder / "evaluations/mine"
    with project.running(*named) as process:
        deadline = time.monotonic() + 300
        while len(found(project.folder / ".absld/scratch", "*.npz")) < 4:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert not folder.exists()
    said = project.absld(*named)
    assert "AutoAttack" in said
    assert not list((project.folder / ".absld/scratch").glob("*"))
    resumed = {path.name: path.read_bytes() for path in folder.iterdir()}
    project.absld(*named)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == resumed
    said = project.absld("evaluate", "--onnx", str(files["onnx"]), "--adversarial", str(folder / "adversarial.npz"))
    assert "No white-box attack was run" in " ".join(said.split())
    assert "Clean images" in project.absld("compare", "mine", "theirs", "--attack", "clean")
    status = subprocess.run(["git", "status", "--porcelain"], cwd=project.folder, capture_output=True, text=True)
    assert status.stdout == "?? dvc.lock\n"
    assert load(files["safetensors"]).spec.architecture == "tiny_resnet8"
