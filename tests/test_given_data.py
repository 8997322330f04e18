"""`absld evaluate --data`: images of the user's own, in class folders or as arrays, and nothing of params.yaml's."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from absld.data.dataset import read_card, read_split, to_images
from absld.data.given import look_at
from absld.errors import InputError
from absld.evaluation.arrays import read_npz
from absld.networks.weights import load, save
from absld.networks.zoo import Spec, build
from absld.params.data import Digits
from absld.records.files import digest, sha256_of, write_json
from pipeline import dvc, evaluate
from pipeline.evaluate import Model
from pipeline.settings import edited
from stages import evaluate_model
from stages.contracts import CARD, DATA

ROOT = Path(__file__).parents[1]
NAMES = ("ant", "bee", "cat")
QUICK = ("evaluate.chunk=60", "evaluate.keep=4", "train.device=cpu")


def pixels(name: str, number: int, size: int = 8) -> NDArray[np.uint8]:
    random = np.random.default_rng(NAMES.index(name) * 100 + number)
    return random.integers(0, 256, (size, size), dtype=np.uint8)


def photos(folder: Path, each: int = 5, size: int = 8) -> Path:
    """Grey PNG files of noise, in folders called as their classes."""
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            Image.fromarray(pixels(name, number, size)).save(folder / name / f"{number}.png")
    return folder


def weights(path: Path, classes: list[str] | None, channels: int = 1) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        save(path, build(Spec("tiny_resnet8", 3, channels, 8, None)).eval(), classes=classes)
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without data, which holds a folder of images and a network that knows their classes."""
    profile = (ROOT / "pipeline/profiles/digits.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(edited(profile, QUICK), encoding="utf-8")
    for name in ("src", "stages"):
        (tmp_path / name).symlink_to(ROOT / name)
    photos(tmp_path / "photos")
    weights(tmp_path / "net.safetensors", list(NAMES))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate_model, "worthwhile", lambda device: 1)
    return tmp_path


@pytest.fixture
def run(project: Path) -> Callable[[str], int]:
    def run(options: str) -> int:
        with pytest.raises(SystemExit) as ended:
            evaluate_model.main([*options.split(), "--attack", "fgsm"])
        return int(ended.value.code or 0)

    return run


def written(project: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project / "evaluations" / name / "evaluation.json").read_text())
    return found


def test_images_are_taken_as_they_are_and_nothing_is_fetched(run: Callable[[str], int], project: Path) -> None:
    assert run("--weights net.safetensors --name mine --data photos") == 0
    assert not (project / "data").exists()
    assert not list((project / ".absld/scratch").glob("*"))
    x = np.stack([pixels(name, number) for name in NAMES for number in range(5)])[..., None]
    y = np.repeat(np.arange(3), 5)
    clean = load(project / "net.safetensors")(to_images(x)).argmax(1).numpy() == y
    verdicts = read_npz(project / "evaluations/mine/verdicts.npz")
    np.testing.assert_array_equal(verdicts["clean"], clean)
    np.testing.assert_array_equal(verdicts["y"], y)
    found = written(project, "mine")
    assert (found["dataset"], found["n"], found["classes"]) == ("image-folder-photos", 15, list(NAMES))
    assert found["attacks"]["clean"]["accuracy"]["micro"] == clean.mean()
    assert found["data"]["folder"] == "photos"
    assert found["overrides"] == {"attacks": ["fgsm"], "eps": None}
    np.save(project / "x.npy", x)
    np.save(project / "y.npy", y)
    assert found["provenance"]["data_sha256"] == digest([sha256_of(project / f"{axis}.npy") for axis in "xy"])


def test_absld_evaluate_starts_nothing_else(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(*_: object) -> int:
        raise AssertionError("the data of params.yaml were fetched")

    monkeypatch.setattr(dvc, "repro", fetched)
    nothing = dict.fromkeys(("onnx", "architecture", "mean", "std", "adversarial", "size", "channels"))
    model = Model(
        weights=project / "net.safetensors", name=None, data=Path("photos"), attacks=("fgsm",), eps="1/20", **nothing
    )
    assert evaluate.run(project, model) == 0
    found = evaluate.read(project, model)
    assert found["overrides"] == {"attacks": ["fgsm"], "eps": 0.05}
    assert found["run"] == "net"


def test_of_a_folder_with_parts_the_test_part_counts(run: Callable[[str], int], project: Path) -> None:
    (project / "parts").mkdir()
    shutil.move(project / "photos", project / "parts/test")
    photos(project / "parts/train", each=2)
    photos(project / "plain")
    assert run("--weights net.safetensors --name parts --data parts") == 0
    assert run("--weights net.safetensors --name plain --data plain") == 0
    parts, plain = (written(project, name) for name in ("parts", "plain"))
    assert parts["n"] == 15
    assert parts["attacks"] == plain["attacks"]
    assert parts["provenance"]["data_sha256"] == plain["provenance"]["data_sha256"]


def test_labels_are_in_the_order_of_the_network(run: Callable[[str], int], project: Path) -> None:
    """Folders are sorted by name; a network may have learnt its classes in another order."""
    weights(project / "turned.safetensors", ["cat", "ant", "bee"])
    assert run("--weights turned.safetensors --name turned --data photos") == 0
    assert run("--weights net.safetensors --name sorted --data photos") == 0
    found, plain = (written(project, name) for name in ("turned", "sorted"))
    assert found["classes"] == ["cat", "ant", "bee"]
    # what the third number stands for is another class, the images of cats are the same
    numbers = [
        {of["classes"].index(to): n for to, n in of["attacks"]["clean"]["confusion"]["cat"].items()}
        for of in (found, plain)
    ]
    assert numbers[0] == numbers[1]


def test_other_images_do_not_take_a_name_that_is_taken(
    run: Callable[[str], int], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = "--weights net.safetensors --name mine --data photos"
    assert run(named) == 0
    before = (project / "evaluations/mine/evaluation.json").read_bytes()
    assert run(named) == 0
    assert (project / "evaluations/mine/evaluation.json").read_bytes() == before
    assert run(f"{named} --eps 0.05") == 2
    assert "evaluations/mine is an evaluation with other --attack or --eps: give --name" in capsys.readouterr().err
    Image.fromarray(pixels("bee", 77)).save(project / "photos/bee/more.png")
    assert run(named) == 2
    assert "evaluations/mine is an evaluation with other --data" in capsys.readouterr().err


def test_size_and_channels_bring_images_to_what_the_network_takes(run: Callable[[str], int], project: Path) -> None:
    weights(project / "colour.safetensors", list(NAMES), channels=3)
    Image.fromarray(np.full((20, 30, 3), 128, np.uint8)).save(project / "photos/ant/wide.png")
    assert run("--weights colour.safetensors --name colour --data photos --size 8 --channels 3") == 0
    assert written(project, "colour")["n"] == 16
    split, _ = look_at(project / "photos", 8, 3).split(project / "scratch")
    assert split.x.shape == (16, 8, 8, 3)
    np.testing.assert_array_equal(split.x[5], np.full((8, 8, 3), 128))  # wide.png comes after 4.png
    np.testing.assert_array_equal(split.x[0, ..., 1], pixels("ant", 0))


def spoil(project: Path, how: str) -> None:
    folder = project / "photos"
    match how:
        case "names":
            (folder / "cat").rename(folder / "dog")
        case "one class":
            shutil.rmtree(folder / "cat")
            shutil.rmtree(folder / "bee")
        case "fewer":
            shutil.rmtree(folder / "cat")
        case "empty":
            shutil.rmtree(folder / "cat")
            (folder / "cat").mkdir()
        case "inner":
            (folder / "cat/more").mkdir()
        case "sizes":
            Image.fromarray(pixels("cat", 0, 9)).save(folder / "cat/9.png")
        case "wide":
            for file in folder.rglob("*.png"):
                Image.fromarray(np.zeros((8, 12), np.uint8)).save(file)
        case "large":
            shutil.rmtree(folder)
            photos(folder, size=16)
        case "colour":
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "cat/9.png")
        case "broken":
            (folder / "cat/9.png").write_bytes(b"no image")
        case "link":
            (folder / "cat/9.png").symlink_to(folder / "nowhere.png")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("names", "its classes are not those of the network, in their order: it has 'dog'. Name the folders after"),
        ("one class", "photos has 1 class folders; at least 2 are needed"),
        ("fewer", "its classes are not those of the network, in their order: it lacks 'cat'"),
        ("empty", "cat has no images"),
        ("inner", "more is a folder inside a class folder"),
        ("sizes", "cat/9.png has 9x9 pixels, another one 8x8: give --size"),
        ("wide", "ant/0.png has 12x8 pixels, which is no square: give --size"),
        ("large", "says of itself: size 8, not 16: correct the options, or choose other data"),
        ("colour", "says of itself: channels 1, not 3"),
        ("broken", "9.png cannot be read as an image"),
        ("link", "9.png is no file, or a link to nothing"),
        ("link --size 8 --channels 1", "9.png is no file, or a link to nothing"),
    ],
)
def test_what_does_not_fit_is_told_and_ends_with_2(
    run: Callable[[str], int], project: Path, capsys: pytest.CaptureFixture[str], how: str, said: str
) -> None:
    how, _, options = how.partition(" --")
    spoil(project, how)
    assert run(f"--weights net.safetensors --name wrong --data photos {options and '--'}{options}") == 2
    assert said in capsys.readouterr().err
    assert not (project / "evaluations").exists()
    assert not (project / ".absld/scratch").exists()


def test_a_network_without_names_goes_by_number(
    run: Callable[[str], int], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights(project / "nameless.safetensors", None)
    assert run("--weights nameless.safetensors --name nameless --data photos") == 0
    assert written(project, "nameless")["classes"] == list(NAMES)
    spoil(project, "fewer")
    assert run("--weights nameless.safetensors --name fewer --data photos") == 2
    assert "says of itself: classes 3, not 2" in capsys.readouterr().err


# what fetch_data wrote -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from absld.data.fetch import fetch

    root = tmp_path_factory.mktemp("digits")
    data = Digits(source="digits", validation_per_class=30, train_per_class=None, split_seed=0)
    fetch(data, root, {name: root / path for name, path in (DATA | CARD).items()})
    return root / "data/dataset"


def test_a_fetched_folder_is_what_the_pipeline_measures_on(digits: Path, tmp_path: Path) -> None:
    given = look_at(digits)
    split, files = given.split(tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()
    assert files == [digits / "test_x.npy", digits / "test_y.npy"]
    assert given.card == read_card(digits / "card.json")
    np.testing.assert_array_equal(split.x, read_split(*files).x)
    with pytest.raises(InputError, match="its classes are not those of the network"):
        given.ordered([*given.card.classes[1:], given.card.classes[0]])
    with pytest.raises(InputError, match="--size and --channels are for image files"):
        look_at(digits, size=8)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no labels", "cannot be read as `absld repro fetch_data` writes them"),
        ("no card", "has 0 class folders"),
        ("half a card", "cannot be read as"),
        ("another size", r"test_x.npy holds uint8 \(360, 8, 8, 1\), and card.json tells of 360 images of 9x9 pixels"),
        ("other labels", "test_y.npy is not the file that card.json tells of"),
    ],
)
def test_a_fetched_folder_that_was_changed_is_refused(digits: Path, tmp_path: Path, how: str, said: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(digits, folder)
    card = json.loads((folder / "card.json").read_text())
    match how:
        case "no labels":
            (folder / "test_y.npy").unlink()
        case "no card":
            (folder / "card.json").unlink()
        case "half a card":
            write_json(folder / "card.json", {"name": card["name"]})
        case "another size":
            write_json(folder / "card.json", {**card, "size": 9})
        case "other labels":
            np.save(folder / "test_y.npy", np.load(folder / "test_y.npy")[::-1].copy())
    with pytest.raises(InputError, match=said):
        look_at(folder)


# ONNX ----------------------------------------------------------------------------------------------------------------


def onnx_file(path: Path, classes: int, names: list[str] | None) -> Path:
    values = np.random.default_rng(0).normal(size=(64, classes)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["z"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(values, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if names is not None:
        helper.set_model_props(model, {"classes": json.dumps(names)})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("classes", "names", "code", "said"),
    [
        (3, ["bee", "ant", "cat"], 0, ""),
        (3, None, 0, ""),
        (4, None, 2, "tells 4 classes apart, and image-folder-photos has 3"),
        (3, ["ant", "bee", "cow"], 2, "its classes are not those of the network, in their order: it has 'cat'"),
    ],
)
def test_an_onnx_file_on_images_of_the_users_own(
    project: Path, capsys: pytest.CaptureFixture[str], classes: int, names: list[str] | None, code: int, said: str
) -> None:
    onnx_file(project / "net.onnx", classes, names)
    options = "--onnx net.onnx --name onnx --data photos --attack square --eps 0"
    with pytest.raises(SystemExit) as ended:
        evaluate_model.main(options.split())
    assert ended.value.code == code, capsys.readouterr().err
    assert said in capsys.readouterr().err
    if not code:
        found = written(project, "onnx")
        assert found["classes"] == (names or list(NAMES))
        assert found["threat_model"]["eps"] == 0
        assert list(found["attacks"]) == ["clean", "square"]
        assert found["attacks"]["square"]["accuracy"] == found["attacks"]["clean"]["accuracy"]
