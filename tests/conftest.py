"""What many tests stand on."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import torch

if TYPE_CHECKING:
    from small_exports import Exported

ROOT = Path(__file__).parents[1]

# The same examples on every machine, and no deadline, which a loaded one misses.
hypothesis.settings.register_profile("everywhere", deadline=None, derandomize=True)
hypothesis.settings.load_profile("everywhere")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before the fixtures of modules too: what is computed depends neither on the cores nor on what ran before."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _a_seed() -> Iterator[None]:
    """Tests do not depend on each other's random numbers."""
    torch.manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        yield


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where ABSLD_REFUSE_SKIPS is set, a test that was skipped is a test that failed: nothing is passed over silently."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    unexpected = [report for report in skipped if "CUDA" not in str(report.longrepr)]
    if os.environ.get("ABSLD_REFUSE_SKIPS") and unexpected:
        reporter.write_line(f"{len(unexpected)} tests were skipped, and none may be", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database with its tables: making them takes seconds, copying the file does not."""
    from absld.watch.store import database, open_store

    root = tmp_path_factory.mktemp("migrated")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        open_store(root)
        file = database(root)
    assert file is not None
    return file


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> "Exported":
    """A small student's export, which takes seconds; nobody changes it."""
    from small_exports import SPEC, run_export, trained

    return run_export(trained(SPEC), tmp_path_factory.mktemp("export"))


@pytest.fixture
def root() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture
def absld(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs the command line in this process, with these arguments; returns its exit code."""
    from pipeline import cli

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["absld", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    return run
