"""Teachers that somebody trained already: found, refused, recorded."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from absld.data.card import Card
from absld.errors import InputError
from absld.networks.weights import save
from absld.networks.zoo import Classifier, Spec, build
from absld.params.agreement import ROBUSTBENCH_DATA
from absld.params.networks import Normalisation
from absld.params.teacher import TeacherFile, TeacherRobustBench, TeacherUrl
from absld.records.files import read_json, sha256_of
from absld.teachers import robustbench_package
from absld.teachers.card import Origin, write_card
from absld.teachers.obtain import obtain
from absld.teachers.preflight import check_teacher
from absld.teachers.robustbench import KNOWN

EPS = 0.1
SPEC = Spec("tiny_resnet16", 10, 3, 32, None)


def card(name: str = "cifar10", classes: int = 10) -> Card:
    return Card(name, [str(label) for label in range(classes)], "", 3, 32, {}, {}, "", "", "", None)


@pytest.fixture(scope="module")
def trained() -> Classifier:
    torch.manual_seed(0)
    return build(SPEC).eval()


@pytest.fixture
def weights(trained: Classifier, tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": {f"module.{k}": v for k, v in trained.backbone.state_dict().items()}}, path)
    return path


def from_file(path: str, sha256: str | None = None, normalisation: Normalisation | None = None) -> TeacherFile:
    inner = {"architecture": "tiny_resnet16", "normalisation": normalisation}
    return TeacherFile.model_validate({"source": "file", "eps": EPS, "path": path, "sha256": sha256} | inner)


def from_url(path: Path, sha256: str) -> TeacherUrl:
    inner = {"architecture": "tiny_resnet16", "normalisation": None}
    return TeacherUrl.model_validate({"source": "url", "eps": EPS, "url": path.as_uri(), "sha256": sha256} | inner)


def named(model: str) -> TeacherRobustBench:
    return TeacherRobustBench(source="robustbench", eps=EPS, model=model)


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        z: Tensor = model(torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(5)))
    return z


class Bomb:
    """A pickle that writes a file when it is opened carelessly."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("kind", ["torch.save", "safetensors"])
def test_a_file_gives_the_same_network(kind: str, trained: Classifier, weights: Path, tmp_path: Path) -> None:
    path = weights
    if kind == "safetensors":
        path = tmp_path / "weights.safetensors"
        save(path, trained)
    model, origin = obtain(from_file(path.name), card(), tmp_path, tmp_path / "cache")
    assert torch.equal(logits(model), logits(trained))
    assert not model.training
    assert (origin.source, origin.sha256) == (f"the file {path.name}", sha256_of(path))
    assert "no sha256" in origin.trust


def test_the_normalisation_of_params_is_inside(trained: Classifier, weights: Path, tmp_path: Path) -> None:
    halves = Normalisation(mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])
    model, _ = obtain(from_file("weights.pt", normalisation=halves), card(), tmp_path, tmp_path)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(model(x), trained((x - 0.5) / 0.25))


def test_a_file_is_not_opened_before_its_hash_matched(tmp_path: Path) -> None:
    trace = tmp_path / "opened"
    torch.save(Bomb(trace), tmp_path / "weights.pt")
    with pytest.raises(InputError, match=r"its sha256 is [0-9a-f]{64}, expected 0{64}"):
        obtain(from_file("weights.pt", "0" * 64), card(), tmp_path, tmp_path)
    right = sha256_of(tmp_path / "weights.pt")
    with pytest.raises(InputError, match="holds more than tensors"):
        obtain(from_file("weights.pt", right), card(), tmp_path, tmp_path)
    assert not trace.exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"teacher.path: there is no file .*nowhere\.pt"):
        obtain(from_file("nowhere.pt"), card(), tmp_path, tmp_path)
    with pytest.raises(InputError, match=r"teacher.path: there is no file .*nowhere\.pt"):
        check_teacher(from_file("nowhere.pt"), tmp_path)


def test_a_teacher_of_other_classes_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"do not fit tiny_resnet16[^\n]*\n.*linear\.weight \(10, 64\) instead of \(3, 64\)"
    ):
        obtain(from_file("weights.pt"), card(classes=3), tmp_path, tmp_path)


def test_an_address_is_fetched_once(trained: Classifier, weights: Path, tmp_path: Path) -> None:
    teacher = from_url(weights, sha256_of(weights))
    model, origin = obtain(teacher, card(), tmp_path, tmp_path / "cache")
    weights.unlink()
    again, _ = obtain(teacher, card(), tmp_path, tmp_path / "cache")
    assert torch.equal(logits(model), logits(trained))
    assert torch.equal(logits(again), logits(trained))
    assert origin == Origin("the file weights.pt", teacher.sha256, "the sha256 in params.yaml", "not known")


def test_an_address_that_gives_another_file_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"set teacher\.source to file, with its path and architecture: tiny_resnet16"):
        obtain(from_url(weights, "0" * 64), card(), tmp_path, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_card_holds_no_token_of_an_address() -> None:
    from absld.teachers.obtain import _address

    assert _address("https://user:secret@example.org:8443/a/b.pt?token=x#y") == "https://example.org:8443/a/b.pt"
    assert _address("http://user:secret@[::1]:80/b.pt") == "http://[::1]:80/b.pt"


def test_the_registry_holds_the_papers_teachers() -> None:
    assert {name: entry.dataset for name, entry in KNOWN.items()} == ROBUSTBENCH_DATA
    trades, gowal = KNOWN["Zhang2019Theoretically"], KNOWN["Gowal2020Uncovering"]
    assert (trades.architecture, trades.normalisation, trades.published) == ("wrn_34_10", None, (0.8492, 0.5308, 0.031))
    assert (gowal.architecture, gowal.published[:2]) == ("dm_wrn_70_16", (0.6086, 0.3003))
    assert gowal.normalisation == ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
    assert gowal.urls[0].endswith("cifar100_linf_wrn70-16_without.pt")


@pytest.fixture
def tiny_entry(weights: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The registry's first model, but small and on this machine."""
    name = "Zhang2019Theoretically"
    entry = KNOWN[name]._replace(architecture="tiny_resnet16", urls=("file:///no/such/mirror", weights.as_uri()))
    monkeypatch.setitem(KNOWN, name, entry)
    return name


def test_a_model_of_the_registry(tiny_entry: str, trained: Classifier, weights: Path, tmp_path: Path) -> None:
    model, origin = obtain(named(tiny_entry), card(), tmp_path, tmp_path / "cache")
    assert torch.equal(logits(model), logits(trained))
    assert origin.sha256 == sha256_of(weights)
    assert "trusted on first use" in origin.trust
    assert origin.licence.startswith("MIT")
    assert origin.published == {"clean": 0.8492, "autoattack": 0.5308, "eps": 0.031}


def test_without_a_hash_only_what_fits_exactly_is_kept(tiny_entry: str, weights: Path, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, weights)
    with pytest.raises(InputError, match="do not fit tiny_resnet16"):
        obtain(named(tiny_entry), card(), tmp_path, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_model_for_another_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trained on cifar100, and the data set is cifar10"):
        obtain(named("Gowal2020Uncovering"), card(), tmp_path, tmp_path)
    with pytest.raises(InputError, match="no models for digits"):
        obtain(named("Rice2020Overfitting"), card("digits"), tmp_path, tmp_path)


def test_another_model_needs_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "robustbench", None)
    with pytest.raises(InputError, match=r'pip install -e "\.\[robustbench\]"'):
        obtain(named("Rice2020Overfitting"), card(), tmp_path, tmp_path)


class WideResNet(nn.Module):
    """Like a class of the package: it has this name, a dead group, and may hold its normalisation as buffers."""

    mu: Tensor
    sigma: Tensor

    def __init__(self, backbone: nn.Module, shift: float = 0.0) -> None:
        super().__init__()
        self.inner = backbone
        self.shift = shift
        self.register_buffer("mu", torch.full((1, 3, 1, 1), 0.5))
        self.register_buffer("sigma", torch.full((1, 3, 1, 1), 0.25))

    def forward(self, x: Tensor) -> Any:
        return self.inner((x - self.mu) / self.sigma + self.shift)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        buffers = {"mu": self.mu, "sigma": self.sigma, "sub_block1.layer.0.conv1.weight": torch.zeros(1)}
        return self.inner.state_dict(*args, **kwargs) | buffers


class TestConverted:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(robustbench_package, "ARCHITECTURES", {"WideResNet": "tiny_resnet16"})

    def test_the_same_function_is_accepted(self, trained: Classifier) -> None:
        theirs = WideResNet(trained.backbone)
        ours = robustbench_package.converted(theirs, "X2020", card())
        assert ours.spec == Spec("tiny_resnet16", 10, 3, 32, ((0.5,) * 3, (0.25,) * 3))
        assert torch.allclose(logits(ours), logits(theirs), atol=1e-5)

    def test_equal_weights_with_another_function_are_refused(self, trained: Classifier) -> None:
        with pytest.raises(InputError, match="its logits differ from those of tiny_resnet16"):
            robustbench_package.converted(WideResNet(trained.backbone, shift=1.0), "X2020", card())

    def test_another_kind_or_number_of_classes_is_refused(self, trained: Classifier) -> None:
        with pytest.raises(InputError, match="it is a Classifier"):
            robustbench_package.converted(trained, "X2020", card())
        with pytest.raises(InputError, match=r"X2020 cannot be used .*do not fit tiny_resnet16"):
            robustbench_package.converted(WideResNet(trained.backbone), "X2020", card(classes=3))


def test_the_card_says_what_the_teacher_is(trained: Classifier, tmp_path: Path) -> None:
    origin = Origin("here", "ab", "why", "MIT", {"clean": 0.9})
    write_card(tmp_path / "card.json", trained, origin, {"clean": {"n": 3}})
    written = read_json(tmp_path / "card.json")
    assert written == {
        "architecture": "tiny_resnet16",
        "normalisation": None,
        "classes": 10,
        "channels": 3,
        "size": 32,
        "parameters": sum(p.numel() for p in trained.backbone.parameters()),
        "source": "here",
        "sha256": "ab",
        "trust": "why",
        "licence": "MIT",
        "published": {"clean": 0.9},
        "accuracy": {"clean": {"n": 3}},
    }
