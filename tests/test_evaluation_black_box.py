"""A network that can only be asked, interrupted and gone on with."""

from pathlib import Path

import pytest
import torch
from small_evaluations import CLASSES, Killed, KilledAfter, assert_same, labelled, settings, small_budgets, trained

from absld.data.dataset import Split
from absld.errors import InputError
from absld.evaluation.black_box import evaluate_black_box
from absld.export.attacked import Asked
from absld.export.onnx_file import to_onnx
from absld.export.parity import onnx_network


@pytest.fixture(scope="module")
def split() -> Split:
    return labelled()


@pytest.fixture(scope="module")
def file() -> Asked:
    return Asked(onnx_network(to_onnx(trained(), (1, 6, 6), 18, {}), threads=1))


def test_killed_anywhere_it_goes_on_as_if_nothing_had_been(file: Asked, split: Split, tmp_path: Path) -> None:
    kills, written = 0, dict[Path, int]()
    with small_budgets():
        undisturbed = evaluate_black_box(file, split, CLASSES, settings(aa=True))
        while True:
            try:
                found = evaluate_black_box(
                    file, split, CLASSES, settings(aa=True), scratch=tmp_path, on_progress=KilledAfter(2 + 3 * kills)
                )
                break
            except Killed:
                kills += 1
                torch.manual_seed(kills)
                now = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
                assert written.items() <= now.items()  # nothing that was finished is done again
                written = now
    assert kills >= 3
    assert written
    assert 0 < undisturbed.verdicts["square"].sum() < undisturbed.verdicts["clean"].sum()
    assert_same(found, undisturbed)


def test_another_version_is_named(file: Asked, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate_black_box(file, split, CLASSES, settings(), scratch=tmp_path)
    monkeypatch.setattr("absld.evaluation.fingerprint.version", lambda name: "0.0")
    with pytest.raises(InputError, match=r"versions\.pyautoattack was .*; versions\.onnxruntime was .* and is 0\.0"):
        evaluate_black_box(file, split, CLASSES, settings(), scratch=tmp_path)
