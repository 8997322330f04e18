"""`absld predict`: what an exported file says of image files, without torch and without the project."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image

from absld.errors import InputError
from absld.predict import BATCH, Student, image_files, softmax

ROOT = Path(__file__).parents[1]
CLASSES = ["dark", "middle", "bright"]
SAYS: dict[str, Any] = {
    "classes": CLASSES,
    "input": {"name": "images", "shape": ["batch", 1, 4, 4], "range": [0, 1]},
    "output": {"name": "logits", "softmax": False},
}


def brightness(folder: Path, channels: int = 1, says: dict[str, Any] = SAYS) -> Path:
    """A file whose logits for an image of mean brightness m are 10·(−m, −|m − 1/2|, m − 1), as one can check by hand."""
    numbers = {"half": [0.5], "one": [1.0], "ten": [10.0], "axes": [1, 2, 3]}
    tensors = [
        helper.make_tensor(name, TensorProto.INT64 if name == "axes" else TensorProto.FLOAT, [len(of)], of)
        for name, of in numbers.items()
    ]
    flat = helper.make_tensor("flat", TensorProto.INT64, [2], [-1, 1])
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=1),
        helper.make_node("Reshape", ["mean", "flat"], ["m"]),
        helper.make_node("Neg", ["m"], ["dark"]),
        helper.make_node("Sub", ["m", "half"], ["off"]),
        helper.make_node("Abs", ["off"], ["far"]),
        helper.make_node("Neg", ["far"], ["middle"]),
        helper.make_node("Sub", ["m", "one"], ["bright"]),
        helper.make_node("Concat", ["dark", "middle", "bright"], ["small"], axis=1),
        helper.make_node("Mul", ["small", "ten"], ["logits"]),
    ]
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", channels, 4, 4])
    back = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "brightness", [given], [back], [*tensors, flat])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {name: json.dumps(value) for name, value in says.items()})
    onnx.checker.check_model(model, full_check=True)
    path = folder / "student.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def image(path: Path, grey: int, size: tuple[int, int] = (4, 4), mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, grey if mode == "L" else (grey, grey, grey)).save(path)
    return path


def test_labels_and_probabilities_are_those_of_the_logits(tmp_path: Path) -> None:
    paths = [image(tmp_path / f"{grey}.png", grey) for grey in (0, 128, 255)]
    found = list(Student(brightness(tmp_path)).predict(paths, top=3))
    assert [of.label for of in found] == CLASSES
    assert [of.path for of in found] == paths
    for grey, of in zip((0, 128, 255), found, strict=True):
        m = grey / 255
        powers = dict(zip(CLASSES, np.exp([-10 * m, -10 * abs(m - 0.5), 10 * (m - 1)]), strict=True))
        assert of.probabilities == pytest.approx(
            {name: of / sum(powers.values()) for name, of in powers.items()}, rel=1e-5
        )
        assert list(of.probabilities.values()) == sorted(of.probabilities.values(), reverse=True)


def test_top_says_how_many_classes(tmp_path: Path) -> None:
    (found,) = Student(brightness(tmp_path)).predict([image(tmp_path / "a.png", 250)], top=2)
    assert list(found.probabilities) == ["bright", "middle"]
    (all_of_them,) = Student(brightness(tmp_path)).predict([tmp_path / "a.png"], top=99)
    assert sum(all_of_them.probabilities.values()) == pytest.approx(1)


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=20))
def test_probabilities_add_up_and_keep_the_order(logits: list[float]) -> None:
    z = np.array([logits], np.float32)
    p = softmax(z)[0]
    assert p.sum() == pytest.approx(1)
    assert p[z[0].argmax()] == p.max()
    np.testing.assert_allclose(softmax(z + np.float32(1)), softmax(z), atol=2e-3 if np.abs(z).max() > 1e3 else 1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_size_and_colour_are_brought_to_what_the_file_wants(channels: int, tmp_path: Path) -> None:
    """Four times too large, and bright only to the left and right of the square that is cut out."""
    wide = Image.new("RGB", (32, 16), (255, 255, 255))
    wide.paste((0, 0, 0), (8, 0, 24, 16))
    wide.save(tmp_path / "wide.png")
    shape = {"input": {**SAYS["input"], "shape": ["batch", channels, 4, 4]}}
    student = Student(brightness(tmp_path, channels, {**SAYS, **shape}))
    assert (student.channels, student.size) == (channels, 4)
    found = student.predict([tmp_path / "wide.png", image(tmp_path / "g.png", 255, (9, 20))])
    assert [of.label for of in found] == ["dark", "bright"]


def test_many_images_go_in_batches_and_keep_their_order(tmp_path: Path) -> None:
    greys = np.random.default_rng(0).choice([0, 128, 255], 2 * BATCH + 3)
    paths = [image(tmp_path / f"{number:03d}.png", int(grey)) for number, grey in enumerate(greys)]
    found = list(Student(brightness(tmp_path)).predict(paths))
    assert [of.label for of in found] == [{0: "dark", 128: "middle", 255: "bright"}[grey] for grey in greys]


def test_a_folder_stands_for_the_images_below_it(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "inner/c.png", ".hidden/d.png", ".e.png"):
        image(tmp_path / "all" / name, 9)
    (tmp_path / "all/notes.txt").write_text("no image")
    single = image(tmp_path / "z.png", 9).rename(tmp_path / "odd name")
    found = [path.relative_to(tmp_path).as_posix() for path in image_files([single, tmp_path / "all"])]
    assert found == ["odd name", "all/a.JPG", "all/b.png", "all/inner/c.png"]


def test_what_is_not_there_or_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match=r"there is no file .*nowhere\.png"):
        image_files([tmp_path / "nowhere.png"])
    with pytest.raises(InputError, match=r"there are no images in .*empty"):
        image_files([tmp_path / "empty"])
    with pytest.raises(InputError, match=r"text\.png cannot be read as an image"):
        list(Student(brightness(tmp_path)).predict([tmp_path / "text.png"]))


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*nothing\.onnx"):
        Student(tmp_path / "nothing.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(InputError, match=r"text\.onnx is no ONNX file"):
        Student(tmp_path / "text.onnx")
    for missing in SAYS:
        says = {name: value for name, value in SAYS.items() if name != missing}
        with pytest.raises(InputError, match="does not say which classes and images"):
            Student(brightness(tmp_path, says=says))
    with pytest.raises(InputError, match="does not say which classes and images"):
        Student(brightness(tmp_path, says={**SAYS, "input": {"shape": [1]}}))
    with pytest.raises(InputError, match=r"other pixels than those in \[0, 1\]"):
        Student(brightness(tmp_path, says={**SAYS, "input": {**SAYS["input"], "range": [0, 255]}}))


def absld(folder: Path, *arguments: str, more: str = "") -> "subprocess.CompletedProcess[str]":
    program = f"import sys; from pipeline.cli import app, main\n{more or 'main()'}"
    paths = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "100"}, capture_output=True, text=True,
    )  # fmt: skip


def test_the_command_needs_neither_torch_nor_a_project(tmp_path: Path) -> None:
    brightness(tmp_path)
    image(tmp_path / "images/dark.png", 0)
    image(tmp_path / "images/bright.png", 255)
    heavy = {"torch", "torchvision", "dvc", "mlflow", "pyautoattack", "sklearn"}
    tell = (
        f"import atexit; atexit.register(lambda: print('loaded:', sorted({heavy} & set(sys.modules)), file=sys.stderr))\n"
        "main()"
    )
    ended = absld(tmp_path, "predict", "student.onnx", "images", "--json", "--top", "2", more=tell)
    assert ended.returncode == 0, ended.stderr
    assert "loaded: []" in ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["image"] for line in lines] == ["images/bright.png", "images/dark.png"]
    assert [line["label"] for line in lines] == ["bright", "dark"]
    assert list(lines[0]["probabilities"]) == ["bright", "middle"]


def test_the_command_shows_a_table(tmp_path: Path) -> None:
    brightness(tmp_path)
    ended = absld(tmp_path, "predict", "student.onnx", str(image(tmp_path / "a.png", 255)), "--top", "3")
    assert ended.returncode == 0, ended.stderr
    # e^0, e^-5 and e^-10 over their sum
    assert [cell in ended.stdout for cell in ("bright 99.3 %", "middle 0.7 %", "dark 0.0 %")] == [True] * 3


@pytest.mark.parametrize("arguments", [("none.onnx", "a.png"), ("student.onnx", "none.png"), ("a.png", "a.png")])
def test_what_is_wrong_ends_with_exit_code_2_and_no_traceback(arguments: tuple[str, str], tmp_path: Path) -> None:
    brightness(tmp_path)
    image(tmp_path / "a.png", 255)
    ended = absld(tmp_path, "predict", *arguments)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
