"""What is refused before anything starts, because of what params.yaml points to."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from absld.errors import InputError
from pipeline.profiles import configure, use

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(30):
                Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    return tmp_path


def refused(project: Path, *settings: str, profile: str | None = None) -> str:
    before = (project / "params.yaml").read_bytes()
    with pytest.raises(InputError) as error:
        configure(project, profile, settings)
    assert (project / "params.yaml").read_bytes() == before
    return str(error.value)


def test_images_that_are_there_are_accepted(project: Path) -> None:
    params, _ = configure(project, "image-folder")
    assert params.data.source == "image-folder"


def test_a_missing_folder(project: Path) -> None:
    assert "there is no folder" in refused(project, "data.root=nowhere", profile="image-folder")


def test_a_class_folder_without_images(project: Path) -> None:
    for path in (project / "images/train/dog").iterdir():
        path.unlink()
    assert "dog" in refused(project, profile="image-folder")


def test_more_validation_images_than_the_smallest_class_has(project: Path) -> None:
    said = refused(project, "data.validation_per_class=30", profile="image-folder")
    assert said.startswith("params.yaml:")
    assert "data.validation_per_class: 30 images a class cannot be taken out" in said


def test_a_missing_teacher_file(project: Path) -> None:
    teacher = (
        "teacher={source: file, eps: 0.1, architecture: tiny_resnet8, normalisation: null, path: gone.pt, sha256: null}"
    )
    assert "there is no file" in refused(project, teacher)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda(project: Path) -> None:
    (project / "stages").symlink_to(ROOT / "stages")
    assert "train.device: torch finds no CUDA device here" in refused(project, "train.device=cuda")


def test_a_torch_that_cannot_be_imported_is_told_with_its_cause(project: Path) -> None:
    (project / "stages").mkdir()
    (project / "stages/__init__.py").touch()
    (project / "stages/doctor.py").write_text("raise ImportError('libcudart.so.13: no such file')\n")
    said = refused(project, "train.device=cuda")
    assert said == "torch cannot be used: ImportError: libcudart.so.13: no such file; `make setup` installs it"


def test_a_profile_can_be_taken_before_its_images_are_there(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    use(tmp_path, "image-folder")
    assert "source: image-folder" in (tmp_path / "params.yaml").read_text()


def test_a_start_that_is_missing_is_found_before_its_run_begins(project: Path) -> None:
    origin = f"{{source: file, path: robust.pt, sha256: {'a' * 64}}}"
    said = refused(project, "runs.methods=[rslad, frl]", f"methods.frl.start={origin}")
    assert "methods.frl.start.path: there is no file" in said
    (project / "robust.pt").write_bytes(b"weights")
    configure(project, None, ["runs.methods=[rslad, frl]", f"methods.frl.start={origin}"])
