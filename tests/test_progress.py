"""Lines that tell how far a stage is."""

import io
import time
from collections.abc import Iterator

import pytest

from absld.watch.progress import Progress, duration


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    yield now


def test_progress_in_a_pipe_is_a_line_now_and_then(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    values = {
        "train/loss": 0.21,
        "validation/clean_average": 0.97,
        "validation/pgd_average": 0.712,
        "validation/pgd_worst": 0.48,
    }
    with Progress("absld-s0", epochs=60, every=5) as progress:
        progress.epoch(10, {})  # resumed: ten epochs say nothing of the speed
        for epoch in (11, 12, 13, 60):
            clock[0] += 3
            progress.epoch(epoch, values)
    assert capsys.readouterr().out.splitlines() == [
        "absld-s0  epoch 10/60",
        "absld-s0  epoch 12/60  loss 0.21  validation clean 97.0, pgd average 71.2 worst 48.0  2 min 24 s left",
        "absld-s0  epoch 60/60  loss 0.21  validation clean 97.0, pgd average 71.2 worst 48.0",
    ]


def test_progress_starts_anew_with_the_next_attack(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("absld-s0", every=0) as progress:
        progress("PGD-20", 0, 2)
        clock[0] += 4
        progress("PGD-20", 1, 2)
        progress("PGD-20", 2, 2)
        progress("CW-30", 0, 2)
        clock[0] += 100
        progress("CW-30", 1, 2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "absld-s0  PGD-20  (50 % done)  4 s left"
    assert lines[-1] == "absld-s0  CW-30  (50 % done)  1 min 40 s left"


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_too_an_hour_between_two_parts_has_a_time(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")  # too narrow for the line
    file = Terminal()
    with Progress("absld-s0", file=file) as progress:
        progress("PGD-20", 40, 100)  # gone on with: forty parts say nothing of the speed
        clock[0] += 3600
        progress("PGD-20, which takes very long, on a very large network", 41, 100)
        clock[0] += 1800
        progress("PGD-20, which takes very long, on a very large network", 41, 100)  # half of a part is no part
    shown = file.getvalue()
    assert "59 h 0 min left  absld-s0  PGD-20" in shown
    assert shown.count(" left  ") == shown.count("59 h 0 min left  ")


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 59, 61, 3600, 3661)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "1 h 0 min",
        "1 h 1 min",
    ]
