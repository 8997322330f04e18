"""The networks that a method brings: trained first under their own fingerprint, or read from a file that is checked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from absld.data.fetch import fetch
from absld.data.task import Held, Task
from absld.errors import InputError
from absld.networks.weights import load, save
from absld.networks.zoo import Spec, build
from absld.params.adversarial import Alone, FromFile, TrainedHere
from absld.params.attacks import Walk
from absld.params.distillation import CleanTeacher
from absld.params.load import load as load_params
from absld.params.train import Augmentation
from absld.records.files import sha256_of
from absld.training.brought import bring, refuse_last_batches
from absld.training.run import Run
from pipeline.settings import edited
from stages import train
from stages.contracts import CARD, DATA, TRAIN
from stages.opening import open_stage

DIGITS = load_params(Path(__file__).parents[1] / "params.yaml")
SPEC = Spec("tiny_resnet8", 2, 1, 8, None)


def make_task() -> Task:
    """Two classes: dark and bright."""
    y = torch.arange(24) % 2
    x = torch.randint(0, 90, (24, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    x[y == 1] += 150
    held = Held(x[:8].float() / 255, y[:8])
    plain = Augmentation(crop_padding=0, padding="zeros", horizontal_flip=False)
    return Task(("dark", "bright"), x, y, held, held, plain, Walk(eps=0.1, step=0.05, steps=2, start="uniform"), 0)


class Watched:
    """Counts the epochs that are trained; stops at one of them, as a kill would."""

    def __init__(self, stop: int | None = None) -> None:
        self.epochs: list[int] = []
        self.stop = stop

    @contextmanager
    def __call__(self, name: str, epochs: int) -> Iterator[Callable[[Run], None]]:
        def show(run: Run) -> None:
            self.epochs.append(run.epoch)
            if run.epoch == self.stop:
                raise KeyboardInterrupt

        yield show


def trained(epochs: int = 3) -> TrainedHere:
    block = DIGITS.methods.sat.model_copy(update={"epochs": epochs, "milestones": []})
    return TrainedHere(source="train", method=Alone(sat=block))


def brought(section: Any, folder: Path, watch: Watched, epochs: int | None = None) -> Any:
    return bring(section, SPEC, make_task(), root=folder.parent, folder=folder, epochs=epochs, watch=watch)


@pytest.mark.parametrize(("own", "of_start", "refused"), [(5, 6, True), (6, 5, True), (6, 6, False)])
def test_a_last_batch_of_one_pixel_is_refused_before_anything_is_trained(
    own: int, of_start: int, refused: bool
) -> None:
    """Of 16 images; the method's batches, and those of the method that trains its start."""

    def in_batches_of(block: Any, size: int) -> Any:
        return block.model_copy(update={"optimiser": block.optimiser.model_copy(update={"batch_size": size})})

    start = TrainedHere(source="train", method=Alone(sat=in_batches_of(DIGITS.methods.sat, of_start)))
    block = in_batches_of(DIGITS.methods.frl, own).model_copy(update={"start": start})
    task = make_task()
    task = replace(task, x=task.x[:16], y=task.y[:16])
    deep = Spec("resnet18", 2, 1, 8, None)
    if refused:
        with pytest.raises(InputError, match=r"batches of 5 .*leave one over"):
            refuse_last_batches(block, deep, task)
    else:
        refuse_last_batches(block, deep, task)


def test_a_run_is_refused_before_its_start_is_trained(root: Path, tmp_path: Path) -> None:
    """1,137 digits in batches of 568 leave one over, which ResNet-18 makes one pixel of."""
    settings = ("student.architecture=resnet18", "methods.frl.optimiser.batch_size=568", "train.max_epochs=1")
    text = (root / "pipeline/profiles/digits.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(edited(text, (*settings, "train.device=cpu")), encoding="utf-8")
    for name in ("src", "stages"):
        (tmp_path / name).symlink_to(root / name)
    files = {name: tmp_path / path for name, path in (DATA | CARD).items()}
    fetch(load_params(tmp_path / "params.yaml").data, tmp_path, files)
    with pytest.raises(InputError, match="1137 training images in batches of 568 leave one over"):
        train.work(open_stage(TRAIN, tmp_path, method="frl", seed="0"))
    assert not (tmp_path / ".absld").exists()


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(tensor, b.state_dict()[name]) for name, tensor in a.state_dict().items())


def test_it_is_trained_once_and_found_again(tmp_path: Path) -> None:
    first, again = Watched(), Watched()
    network = brought(trained(), tmp_path / "start", first)
    assert first.epochs == [0, 1, 2, 3]
    assert same(network, brought(trained(), tmp_path / "start", again))
    assert again.epochs == []
    assert [path.name for path in (tmp_path / "start").iterdir()] == ["weights.safetensors"]
    assert not network.training


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = brought(trained(), tmp_path / "whole", Watched())
    with pytest.raises(KeyboardInterrupt):
        brought(trained(), tmp_path / "cut", Watched(stop=2))
    resumed = Watched()
    assert same(whole, brought(trained(), tmp_path / "cut", resumed))
    assert resumed.epochs == [2, 3]


def test_max_epochs_cuts_it_too(tmp_path: Path) -> None:
    watch = Watched()
    brought(trained(), tmp_path / "start", watch, epochs=1)
    assert watch.epochs == [0, 1]


def test_a_clean_teacher_has_its_own_architecture(tmp_path: Path) -> None:
    section = CleanTeacher(architecture="tiny_resnet16", normalisation=None, origin=trained(1))
    network = brought(section, tmp_path / "clean_teacher", Watched())
    assert network.spec.architecture == "tiny_resnet16"
    assert load(tmp_path / "clean_teacher/weights.safetensors").spec == network.spec


def test_a_file_is_opened_only_if_it_is_the_one_that_was_meant(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build(SPEC).eval()
    save(tmp_path / "robust.safetensors", network)
    sha256 = sha256_of(tmp_path / "robust.safetensors")
    section = FromFile(source="file", path="robust.safetensors", sha256=sha256)
    assert same(network, brought(section, tmp_path / "start", Watched()))
    with pytest.raises(InputError, match="not the expected file"):
        brought(section.model_copy(update={"sha256": "0" * 64}), tmp_path / "start", Watched())
    with pytest.raises(InputError, match="there is no file"):
        brought(section.model_copy(update={"path": "robus.safetensors"}), tmp_path / "start", Watched())
