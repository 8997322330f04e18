"""What `absld status` prints of the reasons that DVC gives."""

import pytest

from pipeline import console


def test_what_was_never_made_is_named_stage_by_stage_and_what_differs_with_its_reasons(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.changes(
        {
            "code_of_stages": ["params.yaml: runs modified"],
            "train@sat-0": ["code/sat.sha256 deleted", "params.yaml new"],
            "train@fat-0": ["code/fat.sha256 deleted", "params.yaml new"],
            "report": ["params.yaml new", "runs deleted"],
        }
    )
    assert capsys.readouterr().out.splitlines() == [
        "code_of_stages",
        "    params.yaml: runs modified",
        "Not made yet:",
        "    train           sat-0, fat-0",
        "    report",
        "`absld repro` makes them, and what comes after them.",
    ]


def test_nothing_to_do_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    console.changes({})
    assert capsys.readouterr().out == "Every stage is up to date.\n"
