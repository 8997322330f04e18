"""The command line starts at once: it loads what a command needs, when it needs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = (
    "torch", "torchvision", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "mlflow", "sqlalchemy", "dvc", "onnx",
    "onnxruntime", "ruamel", "jinja2", "psutil", "rich.live", "rich.progress", "absld.params",
)  # fmt: skip
"""Typer itself loads pydantic for the help of a command."""
LIST = """
import atexit, json, sys
atexit.register(lambda: print("\\n" + json.dumps(sorted(sys.modules))))
from pipeline.cli import main
main()
"""
LEAST = """
import typer
app = typer.Typer(rich_markup_mode="rich")
@app.command()
def one(a: int = 1, b: str = "") -> None: "Do one thing."
@app.command()
def two() -> None: "Do another."
app()
"""


def start(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)


@pytest.mark.parametrize(
    "arguments", ["--help", "--version", "repro --help", "compare --help", "sweep --help", "params --help"]
)
def test_what_computes_nothing_loads_nothing_heavy(arguments: str) -> None:
    loaded = json.loads(start(LIST, *arguments.split()).stdout.splitlines()[-1])
    assert "pipeline.cli" in loaded
    assert [name for name in loaded if name.startswith(tuple(f"{heavy}." for heavy in HEAVY)) or name in HEAVY] == []


def test_what_is_heavy_would_be_found() -> None:
    loaded = json.loads(start(LIST.replace("from", "import numpy\nfrom", 1), "--help").stdout.splitlines()[-1])
    assert "numpy" in loaded


def test_help_takes_little_more_than_the_help_of_the_smallest_command_line() -> None:
    """The processor's time, the least of three: both wait for the same disk. A tenth of torch's import is ten times as much."""

    def seconds(program: str) -> float:
        before = os.times()
        start(program, "--help")
        after = os.times()
        return after.children_user - before.children_user

    ours, least = (min(seconds(program) for _ in range(3)) for program in (LIST, LEAST))
    assert ours < 2.5 * least + 0.05
