"""A DVC project whose stages are shell commands: what the command line does with it takes a moment."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")
DVC_YAML = """
stages:
  one:
    cmd: echo 1 > one.txt
    params: [train.max_epochs]
    outs: [one.txt]
  train:
    matrix:
      method: ${runs.methods}
      seed: ${runs.seeds}
    cmd: >-
      mkdir -p logs/${item.method}-s${item.seed} &&
      echo '{"stage": "train", "key": "${item.method}-s${item.seed}", "seconds": 1.5, "started": "2026-01-01"}'
      > logs/${item.method}-s${item.seed}/train.json && cp one.txt ${item.method}-${item.seed}.txt
    deps: [one.txt]
    outs: ["${item.method}-${item.seed}.txt"]
"""


def new_project(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Without a commit, and the working directory from now on."""
    patch.setenv("DVC_SITE_CACHE_DIR", str(folder / "site"))
    patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "src")]))
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = folder / "project"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (root / "dvc.yaml").write_text(DVC_YAML)
    git(root, "init", "-q")
    patch.chdir(root)
    return root


def git(root: Path, *arguments: str) -> None:
    name = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *name, "-C", str(root), *arguments], check=True)
