"""Your own images: any format, any size, colour or grey."""

import hashlib
import io
import os
import pickle
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydantic import ValidationError

from absld.data.card import SPLITS, Card
from absld.data.dataset import read_split
from absld.data.fetch import fetch
from absld.data.folders import digest, listing_of
from absld.data.images import read_image
from absld.data.preflight import facts_of
from absld.errors import InputError
from absld.params.data import Facts, ImageFolder
from absld.progress import progress

RNG = np.random.default_rng(0)


def params(
    root: str = "photos", size: int = 8, channels: int = 3, per_class: int = 1, name: str | None = None
) -> ImageFolder:
    return ImageFolder.model_validate(
        {
            "source": "image-folder",
            "name": name,
            "root": root,
            "image_size": size,
            "channels": channels,
            "validation_per_class": per_class,
            "train_per_class": None,
            "split_seed": 0,
        }
    )


def fetched(data: ImageFolder, root: Path) -> tuple[Card, dict[str, Path]]:
    writes = {f"{split}_{axis}": root / f"out/{split}_{axis}.npy" for split in SPLITS for axis in "xy"}
    return fetch(data, root, writes | {"card": root / "out/card.json"}), writes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """4 training and 2 test images of each of two classes; a class has its own grey level."""
    for part, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(("ant", "bee")):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (100 * label + number,) * 3).save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_every_image_lands_in_its_split_with_its_label(photos: Path) -> None:
    card, writes = fetched(params(), photos.parent)
    levels = {}
    for split in SPLITS:
        x, y = np.load(writes[f"{split}_x"]), np.load(writes[f"{split}_y"])
        assert all(len(np.unique(image)) == 1 for image in x)
        assert (x[:, 0, 0, 0] // 100).tolist() == y.tolist()
        levels[split] = x[:, 0, 0, 0].tolist()
    assert sorted(levels["train"] + levels["validation"]) == [0, 1, 2, 3, 100, 101, 102, 103]
    assert levels["test"] == [0, 1, 100, 101]
    assert card.counts["validation"] == {"ant": 1, "bee": 1}
    assert (card.name, card.classes) == ("image-folder-photos", ["ant", "bee"])
    assert str(photos.parent) not in (photos.parent / "out/card.json").read_text()


def test_the_images_are_called_what_the_user_says(photos: Path) -> None:
    assert fetched(params(name="insects-2"), photos.parent)[0].name == "insects-2"
    with pytest.raises(ValidationError, match="name"):
        params(name="../insects")


def test_hidden_files_are_ignored(photos: Path) -> None:
    (photos / "train/ant/.DS_Store").write_bytes(b"x")
    (photos / "train/.cache").mkdir()
    (photos / "train/notes.txt").write_text("not a class")
    assert facts_of(params(), photos.parent) == Facts(classes=2, channels=3, size=8, smallest_class=4)
    fetched(params(), photos.parent)


def test_the_recipe_in_the_docs_turns_cifar_10s_archive_into_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = RNG.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    labels = [label % 10 for label in range(30)]
    batches = {"data_batch_1": range(10), "data_batch_5": range(19, 9, -1), "test_batch": range(20, 30)}
    with tarfile.open("cifar-10-python.tar.gz", "w:gz") as archive:
        for name, places in {**batches, "batches.meta": [], "readme.html": []}.items():
            batch = {
                b"data": images[list(places)].transpose(0, 3, 1, 2).reshape(-1, 3072),
                b"labels": [labels[place] for place in places],
                b"filenames": [f"thing_s_{place:06d}.png".encode() for place in places],
            }
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            content = pickle.dumps(batch)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    page = (Path(__file__).parents[1] / "docs/results.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    exec(recipe, {})
    classes = listing_of(tmp_path / "cifar10").classes
    assert (classes[0], classes[9]) == ("airplane", "truck")
    found = {
        part: [[int(path.stem[-6:]) for path in of] for of in listing_of(tmp_path / "cifar10").files[part]]
        for part in ("train", "test")
    }
    assert found["train"][1:3] == [[1, 11], [2, 12]]
    assert found["test"] == [[place] for place in range(20, 30)]
    pixels = read_image(tmp_path / "cifar10/train/bird/thing_s_000012.png", 32, 3)
    assert (pixels == images[12]).all()


class TestDigest:
    def test_it_is_the_hash_of_the_sorted_contents(self, photos: Path) -> None:
        lines = []
        for path in sorted(photos.rglob("*.png"), key=lambda path: path.relative_to(photos).as_posix()):
            content = path.read_bytes()
            name = path.relative_to(photos).as_posix()
            lines.append(f"{name}\0{len(content)}\0{hashlib.sha256(content).hexdigest()}\n")
        assert digest(listing_of(photos)) == hashlib.sha256("".join(lines).encode()).hexdigest()

    def test_any_change_of_the_images_changes_it(self, photos: Path) -> None:
        seen = {fetched(params(), photos.parent)[0].folder_sha256}
        (photos / "test/ant/0.png").rename(photos / "test/ant/00.png")
        seen.add(digest(listing_of(photos)))
        Image.new("RGB", (8, 8), "red").save(photos / "test/ant/00.png")
        seen.add(digest(listing_of(photos)))
        (photos / "train/bee/3.png").unlink()
        seen.add(digest(listing_of(photos)))
        assert len(seen) == 4


class TestErrors:
    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            ("rm -r photos", "there is no folder .*photos;"),
            ("rm -r photos/test", "there is no folder .*test;"),
            ("rm photos/train/bee/*", "class folder .*train.bee has no images"),
            ("rm -r photos/test/bee", "train has classes that test lacks: bee"),
            ("mkdir photos/test/cow", "test has classes that train lacks: cow"),
            ("rm -r photos/*/bee", "has 1 class folders; at least 2"),
            ("mkdir photos/test/ant/more", "more is a folder inside a class folder"),
            ("ln -s nowhere photos/train/bee/9.png", "9.png is no file, or a link to nothing"),
        ],
    )
    def test_before_anything_is_read(self, photos: Path, spoil: str, message: str) -> None:
        subprocess.run(spoil, shell=True, cwd=photos.parent, check=True)
        for attempt in (facts_of, fetched):
            with pytest.raises(InputError, match=message):
                attempt(params(), photos.parent)

    @pytest.mark.parametrize("content", [b"", b"no image", "half"])
    def test_an_unreadable_image_is_named(self, photos: Path, content: bytes | str) -> None:
        path = photos / "train/bee/2.png"
        path.write_bytes(path.read_bytes()[:50] if isinstance(content, str) else content)
        with pytest.raises(InputError, match=r"train.bee.2\.png cannot be read as an image"):
            fetched(params(), photos.parent)
        assert not list((photos.parent / "out").glob(".*"))

    def test_an_image_that_cannot_be_opened_is_named(self, photos: Path) -> None:
        listing = listing_of(photos)
        (photos / "train/bee/2.png").unlink()
        with pytest.raises(InputError, match=r"train.bee.2\.png cannot be read \(No such file"):
            digest(listing)

    def test_a_class_too_small_for_the_validation_split(self, photos: Path) -> None:
        with pytest.raises(InputError, match="class 'ant' has 4 training images; take at most 3"):
            fetched(params(per_class=4), photos.parent)


class TestReadImage:
    @pytest.mark.parametrize("kind", ["png", "bmp", "tiff", "webp", "gif", "ppm"])
    def test_an_image_of_the_size_keeps_its_pixels(self, tmp_path: Path, kind: str) -> None:
        palette = RNG.integers(0, 256, (16, 3), dtype=np.uint8)
        pixels = palette[RNG.integers(0, 16, (9, 9))]
        Image.fromarray(pixels).save(tmp_path / f"image.{kind}", lossless=True)
        assert np.array_equal(read_image(tmp_path / f"image.{kind}", 9, 3), pixels)

    def test_grey_and_colour_become_what_is_asked_for(self, tmp_path: Path) -> None:
        grey = RNG.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(grey).save(tmp_path / "grey.png")
        Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "red.png")
        assert np.array_equal(read_image(tmp_path / "grey.png", 8, 1)[..., 0], grey)
        assert np.array_equal(read_image(tmp_path / "grey.png", 8, 3), np.stack([grey] * 3, axis=-1))
        assert np.unique(read_image(tmp_path / "red.png", 8, 1)).tolist() == [76]  # 0.299 of 255, as ITU-R 601 says

    def test_sixteen_bits_keep_their_range(self, tmp_path: Path) -> None:
        values = np.array([[0, 257, 32896, 65535]] * 4, dtype=np.uint16)
        Image.fromarray(values).save(tmp_path / "deep.png")
        assert read_image(tmp_path / "deep.png", 4, 1)[0, :, 0].tolist() == [0, 1, 128, 255]

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
    def test_transparency_is_laid_on_white(self, tmp_path: Path, mode: str) -> None:
        image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
        ImageDraw.Draw(image).rectangle((0, 0, 3, 7), (0, 0, 0, 255))
        image.convert(mode).save(tmp_path / "image.png")
        row = read_image(tmp_path / "image.png", 8, 3)[0]
        assert row[:, 0].tolist() == [0] * 4 + [255] * 4

    def test_the_shorter_side_fits_and_the_centre_stays(self, tmp_path: Path) -> None:
        pixels = np.zeros((20, 60, 3), dtype=np.uint8)
        pixels[:, 20:40] = 200  # the middle third of a wide image is what a square crop keeps
        Image.fromarray(pixels).save(tmp_path / "wide.png")
        Image.fromarray(pixels.transpose(1, 0, 2)).save(tmp_path / "tall.png")
        for name in ("wide.png", "tall.png"):
            image = read_image(tmp_path / name, 10, 3)
            assert np.abs(image.astype(int) - 200).max() < 20  # at the rim the cubic kernel sees what was cropped
            assert np.unique(image[3:-3, 3:-3]).tolist() == [200]

    def test_a_photograph_is_turned_as_its_camera_says(self, tmp_path: Path) -> None:
        image = Image.new("RGB", (8, 8))
        ImageDraw.Draw(image).rectangle((0, 0, 7, 3), "white")
        exif = Image.Exif()
        exif[0x0112] = 6  # turn by 90 degrees clockwise: what was on top comes to the right
        image.save(tmp_path / "photo.png", exif=exif)
        assert read_image(tmp_path / "photo.png", 8, 1)[0, :, 0].tolist() == [0] * 4 + [255] * 4


def test_progress_prints_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 5.0, 11.0, 11.0, 12.0])
    monkeypatch.setattr("absld.progress.time.monotonic", lambda: next(clock))
    with progress("read images", 4000, "images") as advance:
        for _ in range(3):
            advance(1000)
    assert capsys.readouterr().err == "read images: 2,000 images of 4,000 images, 50 %\n"


@pytest.mark.slow
def test_all_of_cifar10(tmp_path: Path) -> None:
    """ABSLD_TEST_DATA names a folder with unpack.py and its parts: 60,000 PNGs give exactly the pixels of its npz."""
    folder = os.environ.get("ABSLD_TEST_DATA")
    if folder is None:
        pytest.skip("ABSLD_TEST_DATA is not set: it names the folder that holds unpack.py and the parts of CIFAR-10")
    for more in ([], ["--format", "npz"]):
        subprocess.run([sys.executable, Path(folder) / "unpack.py", tmp_path / "cifar", *more], check=True)
    expected = np.load(tmp_path / "cifar/cifar10.npz")
    card, writes = fetched(params("cifar", size=32, per_class=100), tmp_path)
    splits = {split: read_split(writes[f"{split}_x"], writes[f"{split}_y"]) for split in SPLITS}
    assert np.array_equal(splits["test"].x, expected["x_test"])
    assert np.array_equal(splits["test"].y, expected["y_test"])
    assert {len(card.classes), *card.counts["validation"].values()} == {10, 100}
    for label in range(10):
        ours = np.concatenate([splits[name].x[splits[name].y == label] for name in ("train", "validation")])
        theirs = expected["x_train"][expected["y_train"] == label]
        assert sorted(image.tobytes() for image in ours) == sorted(image.tobytes() for image in theirs)
