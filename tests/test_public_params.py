"""What others see of params.yaml and of the settings in results: no secret and no folder of this machine."""

import difflib
from pathlib import Path

import pytest

from absld.params.load import load
from absld.watch.runs import flat
from pipeline.public_params import public_params
from pipeline.settings import edited
from stages.contracts import TRAIN
from stages.opening import open_stage

ROOT = Path(__file__).parents[1]
SHA256 = "0123456789abcdef" * 4
STORED = f"eps: 0.1, architecture: tiny_resnet16, normalisation: null, sha256: {SHA256}"
START = f"{{source: file, path: /home/ada/models/robust.safetensors, sha256: {SHA256}}}"


def written(folder: Path, *settings: str, profile: str = "digits") -> Path:
    text = (ROOT / f"pipeline/profiles/{profile}.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(edited(text, settings), encoding="utf-8")
    return folder / "params.yaml"


@pytest.mark.parametrize(
    ("profile", "setting", "public"),
    [
        ("digits", f"teacher={{source: file, path: /home/ada/teacher.pt, {STORED}}}", 'path: "teacher.pt"'),
        ("digits", f"teacher={{source: file, path: ../ada/teacher.pt, {STORED}}}", 'path: "teacher.pt"'),
        (
            "digits",
            f'teacher={{source: url, url: "https://ada:secret@example.org:8443/a/b.pt?token=secret#ada", {STORED}}}',
            'url: "https://example.org:8443/a/b.pt"',
        ),
        ("digits", f'teacher={{source: url, url: "file:///home/ada/b.pt", {STORED}}}', 'url: "file:///b.pt"'),
        ("digits", f"methods.frl.start={START}", 'path: "robust.safetensors"'),
        ("digits", f"methods.mtard.clean_teacher.origin={START}", 'path: "robust.safetensors"'),
        ("fashion-mnist", "data.root=/home/ada/images", "root: null "),
        ("image-folder", "data.root=/home/ada/photos/", 'root: "photos" '),
    ],
)
def test_only_what_is_this_machine_s_or_secret_is_changed(
    profile: str, setting: str, public: str, tmp_path: Path
) -> None:
    params = written(tmp_path, setting, profile=profile)
    mine, theirs = params.read_text(), public_params(params)
    assert not {"ada", "secret"} & set(theirs.replace("/", " ").replace(":", " ").split())
    (changed,) = [line for line in difflib.ndiff(mine.splitlines(), theirs.splitlines()) if line.startswith("+ ")]
    assert public in changed
    params.write_text(theirs)
    load(params)
    assert public_params(params) == theirs, "and what is public stays as it is"


@pytest.mark.parametrize("profile", ["digits", "fashion-mnist", "cifar10", "image-folder"])
def test_what_holds_no_secret_stays_byte_by_byte(profile: str, tmp_path: Path) -> None:
    params = written(tmp_path, profile=profile)
    assert public_params(params) == params.read_text()


def test_the_settings_in_results_name_the_file_that_a_method_brings_and_no_folder(tmp_path: Path) -> None:
    settings = (f"methods.frl.start={START}", f"methods.mtard.clean_teacher.origin={START}")
    params = load(written(tmp_path, *settings))
    assert params.methods.frl.start.path == "/home/ada/models/robust.safetensors", "what is opened"
    for method, key in (("frl", "start"), ("mtard", "clean_teacher.origin")):
        recorded = open_stage(TRAIN, tmp_path, method=method, seed="0").resolved[f"methods.{method}"]
        assert flat(recorded)[f"{key}.path"] == "robust.safetensors"
        assert flat(recorded)[f"{key}.sha256"] == SHA256
