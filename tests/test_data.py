"""From a source to three splits on disk."""

import gzip
import hashlib
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import datasets

from absld.data.card import SPLITS, read_card
from absld.data.dataset import Split, read_split, to_images
from absld.data.fetch import fetch
from absld.data.preflight import facts_of
from absld.data.sources import FASHION
from absld.data.splits import hold_out
from absld.errors import InputError
from absld.params.data import FACTS, Data, Digits, Public
from absld.records.files import sha256_of


def outs(folder: Path) -> dict[str, Path]:
    return {f"{split}_{axis}": folder / f"{split}_{axis}.npy" for split in SPLITS for axis in "xy"} | {
        "card": folder / "card.json"
    }


def fetched(data: Data, root: Path) -> dict[str, Split]:
    writes = outs(root / "out")
    fetch(data, root, writes)
    return {split: read_split(writes[f"{split}_x"], writes[f"{split}_y"]) for split in SPLITS}


def digits(per_class: int = 20, seed: int = 0) -> Digits:
    return Digits(source="digits", validation_per_class=per_class, train_per_class=None, split_seed=seed)


def public(source: Any, root: str | None) -> Public:
    return Public(source=source, root=root, validation_per_class=1, train_per_class=None, split_seed=0)


class TestHoldOut:
    @given(labels=st.lists(st.integers(0, 2), min_size=12), per_class=st.integers(1, 3), seed=st.integers(0, 2**31 - 1))
    def test_it_parts_the_rows(self, labels: list[int], per_class: int, seed: int) -> None:
        y = np.array([*labels, *[0, 1, 2] * 4])
        train, validation = hold_out(y, per_class, seed, "abc")
        assert sorted([*train, *validation]) == list(range(len(y)))
        assert Counter(y[validation].tolist()) == dict.fromkeys(range(3), per_class)
        assert sorted(train) == list(train)
        assert sorted(validation) == list(validation)

    def test_more_keeps_the_images_of_less(self) -> None:
        y = np.repeat(np.arange(3), 50)
        chosen = [set(hold_out(y, count, 0, "abc").validation.tolist()) for count in (5, 10, 20)]
        assert chosen[0] < chosen[1] < chosen[2]

    @given(labels=st.lists(st.integers(0, 2), min_size=12), most=st.integers(1, 20), seed=st.integers(0, 2**31 - 1))
    def test_at_most_so_many_are_trained_on(self, labels: list[int], most: int, seed: int) -> None:
        y = np.array([*labels, *[0, 1, 2] * 4])
        everything, fewer = hold_out(y, 2, seed, "abc"), hold_out(y, 2, seed, "abc", most)
        assert fewer.validation.tolist() == everything.validation.tolist()
        assert set(fewer.train) <= set(everything.train)
        wanted = {label: min(most, count) for label, count in Counter(y[everything.train].tolist()).items()}
        assert Counter(y[fewer.train].tolist()) == wanted

    def test_the_seed_decides_the_same_everywhere(self) -> None:
        # the first two of each class by the raw words of PCG64(0), sorted by hand
        y = np.array([0, 1, 0, 1, 0, 1, 0, 1])
        words = np.random.PCG64(0).random_raw(8).tolist()
        zeros = sorted(range(4), key=lambda place: words[place])[:2]
        ones = sorted(range(4), key=lambda place: words[4 + place])[:2]
        expected = sorted([2 * place for place in zeros] + [2 * place + 1 for place in ones])
        assert hold_out(y, 2, 0, "ab").validation.tolist() == expected
        assert words[0] == 11749869230777074271

    def test_a_class_keeps_an_image_for_training(self) -> None:
        y = np.array([0, 0, 0, 1, 1])
        assert hold_out(y, 1, 0, ("cat", "dog")).train.size == 3
        with pytest.raises(InputError, match=r"class 'dog' has 2 training images; take at most 1"):
            hold_out(y, 2, 0, ("cat", "dog"))


def test_the_card_counts_what_is_trained_on(tmp_path: Path) -> None:
    data = Digits(source="digits", validation_per_class=20, train_per_class=30, split_seed=0)
    writes = {f"{split}_{axis}": tmp_path / f"{split}_{axis}.npy" for split in SPLITS for axis in "xy"}
    counts = fetch(data, tmp_path, writes | {"card": tmp_path / "card.json"}).counts
    assert set(counts["train"].values()) == {30}
    assert set(counts["validation"].values()) == {20}
    assert len(np.load(writes["train_x"])) == 300


class TestDigits:
    def test_the_files_hold_the_images_of_scikit_learn(self, tmp_path: Path) -> None:
        from sklearn.datasets import load_digits

        splits = fetched(digits(), tmp_path)
        bunch = load_digits()
        theirs = Counter((label, tuple(image.ravel())) for image, label in zip(bunch.images, bunch.target, strict=True))
        stretched = {value: round(value * 255 / 16) for value in range(17)}
        back = np.vectorize({pixel: value for value, pixel in stretched.items()}.get)
        ours = Counter(
            (label, tuple(back(image).ravel()))
            for split in splits.values()
            for image, label in zip(split.x, split.y, strict=True)
        )
        assert ours == theirs
        assert {name: len(split) for name, split in splits.items()} == {"train": 1237, "validation": 200, "test": 360}

    def test_the_test_images_do_not_depend_on_the_seed(self, tmp_path: Path) -> None:
        first, second = (fetched(digits(seed=seed), tmp_path / str(seed)) for seed in (0, 1))
        assert np.array_equal(first["test"].x, second["test"].x)
        assert not np.array_equal(first["validation"].x, second["validation"].x)
        shares = np.bincount(first["test"].y) / np.bincount(np.concatenate([s.y for s in first.values()]))
        assert np.abs(shares - 0.2).max() < 0.01

    def test_the_same_again_gives_the_same_bytes(self, tmp_path: Path) -> None:
        for name in ("first", "second"):
            fetch(digits(), tmp_path, outs(tmp_path / name))
        hashes = [{name: sha256_of(path) for name, path in outs(tmp_path / run).items()} for run in ("first", "second")]
        assert hashes[0] == hashes[1]

    def test_the_card_says_what_lies_beside_it(self, tmp_path: Path) -> None:
        writes = outs(tmp_path)
        fetch(digits(), tmp_path, writes)
        card = read_card(writes["card"])
        assert (card.name, card.classes, card.channels, card.size) == ("digits", [str(n) for n in range(10)], 1, 8)
        for split in SPLITS:
            labels = np.load(writes[f"{split}_y"]).tolist()
            assert card.counts[split] == {str(label): labels.count(label) for label in range(10)}
        assert card.sha256 == {path.name: sha256_of(path) for name, path in writes.items() if name != "card"}
        assert str(tmp_path) not in writes["card"].read_text()

    def test_the_facts_are_true(self, tmp_path: Path) -> None:
        splits = fetched(digits(per_class=1), tmp_path)
        assert facts_of(digits(), tmp_path) == FACTS["digits"]
        smallest = np.bincount(splits["train"].y).min() + 1
        assert (smallest, *splits["train"].x.shape[1:]) == (FACTS["digits"].smallest_class, 8, 8, 1)


def test_a_split_is_mapped_and_cannot_be_written(tmp_path: Path) -> None:
    split = fetched(digits(), tmp_path)["test"]
    assert isinstance(split.x, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        split.x[0] = 0
    images = to_images(split.x)
    assert images.shape == (360, 1, 8, 8)
    assert images.dtype == torch.float32
    assert float(images[3, 0, 4, 2]) == float(np.float32(split.x[3, 4, 2, 0]) / np.float32(255))


class FakeCifar:
    """A tiny archive in CIFAR-10's format, with torchvision told its checksums."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        rng = np.random.default_rng(0)
        self.x = rng.integers(0, 256, (40, 3, 32, 32), dtype=np.uint8)
        self.y = [n % 10 for n in range(40)]
        names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
        rows = dict(zip(names, np.split(np.arange(40), [6, 12, 18, 24, 30]), strict=True))
        contents = {
            name: {"data": self.x[r].reshape(len(r), -1), "labels": [self.y[i] for i in r]} for name, r in rows.items()
        } | {"batches.meta": {"label_names": [f"kind/{n}" for n in range(10)]}}
        inner = folder / "cifar-10-batches-py"
        inner.mkdir(parents=True)
        for name, content in contents.items():
            (inner / name).write_bytes(pickle.dumps(content))
        md5 = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in inner.iterdir()}
        self.archive = folder / "cifar-10-python.tar.gz"
        with tarfile.open(self.archive, "w:gz") as tar:
            tar.add(inner, inner.name)
        cifar = datasets.CIFAR10
        monkeypatch.setattr(cifar, "train_list", [[name, md5[name]] for name in names[:5]])
        monkeypatch.setattr(cifar, "test_list", [["test_batch", md5["test_batch"]]])
        monkeypatch.setattr(cifar, "meta", cifar.meta | {"md5": md5["batches.meta"]})
        monkeypatch.setattr(cifar, "tgz_md5", hashlib.md5(self.archive.read_bytes()).hexdigest())
        monkeypatch.setattr(cifar, "url", self.archive.as_uri())
        self.unpacked = inner


class TestPublic:
    @pytest.fixture
    def cifar(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCifar:
        return FakeCifar(tmp_path / "given", monkeypatch)

    @pytest.mark.parametrize("kind", ["archive", "unpacked", "download"])
    def test_cifar10(self, kind: str, cifar: FakeCifar, tmp_path: Path) -> None:
        if kind == "unpacked":
            cifar.archive.unlink()
        else:
            for path in cifar.unpacked.iterdir():
                path.unlink()
            cifar.unpacked.rmdir()
        before = sorted((tmp_path / "given").rglob("*"))
        splits = fetched(public("cifar10", None if kind == "download" else "given"), tmp_path)
        test = splits["test"]
        assert np.array_equal(test.x, cifar.x[30:].transpose(0, 2, 3, 1))
        assert test.y.tolist() == cifar.y[30:]
        assert len(splits["train"]) == 20
        assert read_card(tmp_path / "out/card.json").classes[3] == "kind-3"
        assert sorted((tmp_path / "given").rglob("*")) == before
        assert not (tmp_path / ".absld/downloads/cifar10/unpacked").exists()

    def test_a_missing_archive_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "given").mkdir()
        with pytest.raises(InputError, match=r"lacks cifar-100-python\.tar\.gz"):
            fetched(public("cifar100", "given"), tmp_path)
        with pytest.raises(InputError, match="there is no folder"):
            facts_of(public("svhn", "elsewhere"), tmp_path)

    def test_a_wrong_archive_is_refused(self, cifar: FakeCifar, tmp_path: Path) -> None:
        (cifar.unpacked / "data_batch_1").write_bytes(b"")
        cifar.archive.write_bytes(cifar.archive.read_bytes()[:-100])
        with pytest.raises(InputError, match="is not the published file: its md5 is"):
            fetched(public("cifar10", "given"), tmp_path)

    def test_fashion_mnist_from_a_mirror(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        site = tmp_path / "site"
        site.mkdir()
        arrays = {"train": np.arange(20 * 784) % 251, "t10k": np.arange(10 * 784) % 241}
        resources = []
        for part, values in arrays.items():
            count = len(values) // 784
            idx = {
                f"{part}-images-idx3-ubyte.gz": struct.pack(">IIII", 2051, count, 28, 28)
                + values.astype("u1").tobytes(),
                f"{part}-labels-idx1-ubyte.gz": struct.pack(">II", 2049, count) + bytes(n % 10 for n in range(count)),
            }
            for name, content in idx.items():
                (site / name).write_bytes(gzip.compress(content))
                resources.append((name, hashlib.md5((site / name).read_bytes()).hexdigest()))
        monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
        monkeypatch.setattr(datasets.FashionMNIST, "mirrors", ["file:///no/such/mirror/", f"{site.as_uri()}/"])
        test = fetched(public("fashion-mnist", None), tmp_path)["test"]
        assert np.array_equal(test.x, arrays["t10k"].reshape(10, 28, 28, 1))
        assert read_card(tmp_path / "out/card.json").classes[0] == "T-shirt-top"

        # packed anew, as Debian has them: known by what they hold, and by nothing else
        for name, _ in resources:
            content = gzip.decompress((site / name).read_bytes())
            (site / name).write_bytes(gzip.compress(content, compresslevel=1, mtime=7))
            monkeypatch.setitem(FASHION, name, hashlib.sha256(content).hexdigest())
        again = fetched(public("fashion-mnist", "site"), tmp_path)["test"]
        assert np.array_equal(again.x, test.x)
        assert np.array_equal(again.y, test.y)

        # unpacked by torchvision: known by the same contents, and MNIST's are not taken for them
        raw = tmp_path / "unpacked/FashionMNIST/raw"
        raw.mkdir(parents=True)
        for packed, _ in resources:
            (raw / packed.removesuffix(".gz")).write_bytes(gzip.decompress((site / packed).read_bytes()))
        assert np.array_equal(fetched(public("fashion-mnist", "unpacked"), tmp_path)["test"].x, test.x)
        images = raw / "t10k-images-idx3-ubyte"
        of_fashion = images.read_bytes()
        for others in (of_fashion[:16] + bytes(len(of_fashion) - 16), of_fashion[:-1]):
            images.write_bytes(others)
            with pytest.raises(InputError, match="t10k-images-idx3-ubyte is not the published file: its sha256 is"):
                fetched(public("fashion-mnist", "unpacked"), tmp_path)
        shutil.copy(site / f"{images.name}.gz", raw)
        assert np.array_equal(fetched(public("fashion-mnist", "unpacked"), tmp_path)["test"].x, test.x)

        (site / name).write_bytes(gzip.compress(content + b"1"))
        with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz is not the published file"):
            fetched(public("fashion-mnist", "site"), tmp_path)
        (site / name).write_bytes(gzip.compress(content)[:-9])
        with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz is not the published file"):
            fetched(public("fashion-mnist", "site"), tmp_path)

    def test_svhn(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from scipy.io import savemat

        x = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 30), dtype=np.uint8)
        y = np.arange(30) % 10
        files = {}
        for split, rows in (("train", slice(0, 20)), ("test", slice(20, 30))):
            path = tmp_path / f"{split}_32x32.mat"
            savemat(path, {"X": x[..., rows], "y": np.where(y[rows] == 0, 10, y[rows])[:, None]})
            files[split] = [path.as_uri(), path.name, hashlib.md5(path.read_bytes()).hexdigest()]
        monkeypatch.setattr(datasets.SVHN, "split_list", files)
        for root in (".", None):
            test = fetched(public("svhn", root), tmp_path)["test"]
            assert np.array_equal(test.x, x[..., 20:].transpose(3, 0, 1, 2))
            assert test.y.tolist() == y[20:].tolist()
        (tmp_path / "test_32x32.mat").write_bytes(b"cut")
        with pytest.raises(InputError, match=r"test_32x32\.mat is not the published file"):
            fetched(public("svhn", "."), tmp_path)
        (tmp_path / "test_32x32.mat").unlink()
        with pytest.raises(InputError, match=r"lacks test_32x32\.mat"):
            fetched(public("svhn", "."), tmp_path)


def test_the_preflight_is_light() -> None:
    program = (
        "import sys, absld.data.preflight, absld.teachers.preflight, absld.data.card\n"
        "assert not {'torch', 'torchvision', 'sklearn', 'PIL', 'numpy'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
