"""Networks in files: our own, byte for byte, and the checkpoints that other people publish."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from absld.errors import InputError
from absld.networks import checkpoints, weights
from absld.networks.weights import Header
from absld.networks.zoo import Classifier, Spec, build, filled

State = dict[str, Tensor]
TINY = Spec("tiny_resnet16", classes=10, channels=1, size=8, normalisation=None)


def first_convolution(network: Classifier) -> Tensor:
    weight: Tensor = network.backbone.state_dict()["conv1.weight"]
    return weight


@pytest.mark.parametrize("normalisation", [None, ((0.1307,), (0.3081,))])
def test_a_saved_network_comes_back(tmp_path: Path, normalisation: Any) -> None:
    network = build(replace(TINY, normalisation=normalisation))
    x = torch.rand(4, 1, 8, 8)
    network(x)
    network.eval()
    weights.save(tmp_path / "w.safetensors", network, epoch=3, note="τ")
    again = weights.load(tmp_path / "w.safetensors")
    assert again.spec == network.spec
    assert not any(module.training for module in again.modules())
    assert all(parameter.requires_grad for parameter in again.parameters())
    with torch.no_grad():
        assert torch.equal(again(x), network(x))
    assert weights.read_header(tmp_path / "w.safetensors") == Header(network.spec, {"epoch": 3, "note": "τ"})


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    network = build(TINY)
    weights.save(tmp_path / "a", network, epoch=3, note="b")
    weights.save(tmp_path / "b", weights.load(tmp_path / "a"), note="b", epoch=3)
    weights.save(tmp_path / "c", network.to(memory_format=torch.channels_last), epoch=3, note="b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


@pytest.mark.parametrize("architecture", ["tiny_resnet16", "wrn_34_10"])
def test_reading_weights_draws_no_random_number(architecture: str) -> None:
    spec = replace(TINY, architecture=architecture)
    with torch.device("meta"):
        wanted = build(spec).backbone.state_dict()
    state = {name: torch.zeros((), dtype=value.dtype).expand(value.shape) for name, value in wanted.items()}
    before = torch.get_rng_state()
    filled(spec, state, Path("zeros"))
    assert torch.equal(torch.get_rng_state(), before)


def test_loaded_weights_outlive_the_file(tmp_path: Path) -> None:
    network = build(TINY)
    weights.save(tmp_path / "w", network)
    again = weights.load(tmp_path / "w")
    (tmp_path / "w").write_bytes(b"")
    assert torch.equal(first_convolution(again), first_convolution(network))


def test_files_that_no_stage_wrote_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign")
    save_file({"a": torch.zeros(1)}, tmp_path / "newer", metadata={"absld": '{"spec": {"colour": 1}, "more": {}}'})
    (tmp_path / "cut").write_bytes((tmp_path / "foreign").read_bytes()[:-1])
    for name, says in {
        "foreign": "does not say which network",
        "newer": "another version of absld",
        "cut": "cannot be read as safetensors",
        "absent": "cannot be read as safetensors",
    }.items():
        with pytest.raises(InputError, match=f"{name}: .*{says}"):
            weights.load(tmp_path / name)


@pytest.fixture(scope="module")
def published() -> Classifier:
    torch.manual_seed(0)
    network = build(TINY)
    network(torch.rand(16, 1, 8, 8))
    return network.eval()


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


WRAPPINGS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "rslad": lambda state: prefixed("module.", state),
    "absld": lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}, "epoch": 300},
    "adaad": lambda state: {"net": state, "clean_acc": 85.0, "PGD10_acc": 55.0, "epoch": 200},
    "iad": lambda state: {"epoch": 200, "state_dict": prefixed("module.", state)},
    "robustbench": lambda state: prefixed("model.", state),
    "twice wrapped": lambda state: {"state_dict": prefixed("module.model.", state)},
    "trades": lambda state: state | prefixed("sub_block1.layer.0.", {"bn1.weight": state["bn1.weight"]}),
    "parallel trades": lambda state: prefixed("module.", state | {"sub_block1.layer.0.conv1.weight": torch.zeros(1)}),
    "torch 0.4": lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_checkpoints_as_they_are_published(tmp_path: Path, published: Classifier, wrapping: str, zipped: bool) -> None:
    content = WRAPPINGS[wrapping](published.backbone.state_dict())
    torch.save(content, tmp_path / "c.pt", _use_new_zipfile_serialization=zipped)
    network = checkpoints.read(tmp_path / "c.pt", TINY)
    x = torch.rand(4, 1, 8, 8)
    assert not network.training
    with torch.no_grad():
        assert torch.equal(network(x), published(x))


def test_t13_the_published_teacher_of_trades_without_its_dead_keys(tmp_path: Path) -> None:
    """252 entries of which 61 are dead, 48,262,586 parameters, no counters, the prefix of DataParallel."""
    spec = Spec("wrn_34_10", classes=10, channels=3, size=32, normalisation=None)
    with torch.device("meta"):
        used = build(spec).backbone.state_dict()
    dead = {f"sub_{name}": value for name, value in used.items() if name.startswith("block1.")}
    assert (len(dead), len(used | dead)) == (61, 252)
    # One stored number for each tensor, so that the file is small.
    state = {k: torch.ones(()).expand(v.shape) for k, v in (used | dead).items() if not k.endswith("_tracked")}
    parameters = {name: value.numel() for name, value in state.items() if ".running_" not in name}
    assert sum(parameters.values()) == 48_262_586
    assert sum(parameters[name] for name in dead if name in parameters) == 2_102_112
    torch.save(prefixed("module.", state), tmp_path / "model_cifar_wrn.pt")
    network = checkpoints.read(tmp_path / "model_cifar_wrn.pt", spec)
    assert sum(parameter.numel() for parameter in network.parameters()) == 46_160_474
    assert all((parameter == 1).all() for parameter in network.parameters())


@pytest.mark.parametrize(("theirs", "ours", "says"), [("", "_bare", "unexpected"), ("_bare", "", "missing")])
def test_preact_variants_are_not_mistaken_for_each_other(tmp_path: Path, theirs: str, ours: str, says: str) -> None:
    written, wanted = (Spec(f"preact_resnet18{variant}", 10, 3, 32, None) for variant in (theirs, ours))
    torch.save(build(written).backbone.state_dict(), tmp_path / "c.pt")
    with pytest.raises(InputError, match=rf"{says}: bn\.weight, bn\.bias, bn\.running_mean and 2 more\n"):
        checkpoints.read(tmp_path / "c.pt", wanted)


def test_safetensors_and_half_precision(tmp_path: Path, published: Classifier) -> None:
    halves = {
        name: value.half() if value.is_floating_point() else value
        for name, value in published.backbone.state_dict().items()
    }
    save_file(prefixed("model.", halves), tmp_path / "c.safetensors")
    network = checkpoints.read(tmp_path / "c.safetensors", TINY)
    assert first_convolution(network).dtype == torch.float32
    assert torch.equal(first_convolution(network), first_convolution(published).half().float())


def test_another_architecture_is_named(tmp_path: Path) -> None:
    torch.save(build(Spec("resnet18", 10, 3, 32, None)).backbone.state_dict(), tmp_path / "c.pt")
    with pytest.raises(InputError) as caught:
        checkpoints.read(tmp_path / "c.pt", TINY)
    text = str(caught.value)
    assert "c.pt: the weights do not fit tiny_resnet16 (channels: 1, classes: 10)" in text
    assert "missing: layer1.conv1.weight, layer1.bn1.weight, layer1.bn1.bias and " in text
    assert "unexpected: layer1.0.conv1.weight, " in text
    assert "conv1.weight (64, 3, 3, 3) instead of (16, 1, 3, 3)" in text
    assert "architecture" in text.splitlines()[-1]


def test_another_number_of_classes_is_named(tmp_path: Path) -> None:
    torch.save(build(replace(TINY, classes=100)).backbone.state_dict(), tmp_path / "c.pt")
    with pytest.raises(InputError, match=re.escape("linear.weight (100, 64) instead of (10, 64)")) as caught:
        checkpoints.read(tmp_path / "c.pt", TINY)
    assert "missing" not in str(caught.value)


def test_our_own_file_must_be_given_its_own_normalisation(tmp_path: Path) -> None:
    weights.save(tmp_path / "w", build(replace(TINY, normalisation=((0.5,), (0.25,)))))
    with pytest.raises(InputError, match=r"normalisation \(\(0\.5,\), \(0\.25,\)\)"):
        checkpoints.read(tmp_path / "w", TINY)


def saved(content: Any, path: Path, *, zipped: bool = True) -> bytes:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning", "is a web page"),
        (b"\xef\xbb\xbf\n  <?xml version='1.0'?><Error><Code>AccessDenied", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (b"\x1f\x8b\x08 a gzip", "neither safetensors nor"),
        (b"\x10\0\0\0\0\0\0\0{ no header", "cannot be read as safetensors"),
        (b"PK\x03\x04 and no end", "truncated"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, start: bytes, says: str) -> None:
    (tmp_path / "teacher.pt").write_bytes(start)
    with pytest.raises(InputError, match=f"teacher.pt: .*{says}"):
        checkpoints.read(tmp_path / "teacher.pt", TINY)


@pytest.mark.parametrize("part", [0.02, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_truncated_files(tmp_path: Path, published: Classifier, kind: str, part: float) -> None:
    path = tmp_path / "c"
    if kind == "safetensors":
        weights.save(path, published)
        whole = path.read_bytes()
    else:
        whole = saved(published.backbone.state_dict(), path, zipped=kind == "zip")
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(InputError, match=r"truncated|damaged|incomplete|header"):
        checkpoints.read(path, TINY)


class Trap:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, zipped: bool) -> None:
    saved({"model": Trap(tmp_path / "ran")}, tmp_path / "c.pt", zipped=zipped)
    with pytest.raises(InputError, match="holds more than tensors"):
        checkpoints.read(tmp_path / "c.pt", TINY)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"model": {}}, torch.zeros(2)])
def test_no_state_dict(tmp_path: Path, content: Any) -> None:
    saved(content, tmp_path / "c.pt")
    with pytest.raises(InputError, match="holds no state dict"):
        checkpoints.read(tmp_path / "c.pt", TINY)


@pytest.mark.parametrize("name", ["absent.pt", "."])
def test_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be read.*check the path"):
        checkpoints.read(tmp_path / name, TINY)
