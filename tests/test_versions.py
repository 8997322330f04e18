"""The project may run from its sources alone, PYTHONPATH=src: nothing then knows a version of it."""

from importlib import metadata
from pathlib import Path

import pytest
import torch
from small_evaluations import labelled, settings

from absld.evaluation.fingerprint import fingerprint
from absld.versions import version
from benchmarks.machine import described


def test_what_is_not_installed_has_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = metadata.version

    def of_sources(package: str) -> str:
        if package == "absld":
            raise metadata.PackageNotFoundError(package)
        return installed(package)

    monkeypatch.setattr(metadata, "version", of_sources)
    assert version("absld") is None
    assert fingerprint(torch.nn.Linear(1, 1), None, labelled(), settings(), [])["versions"] == {
        "absld": None,
        "torch": installed("torch"),
        "pyautoattack": installed("pyautoattack"),
    }
    told = described(torch.device("cpu"), tmp_path)["versions"]
    assert isinstance(told, dict) and told["absld"] is None
