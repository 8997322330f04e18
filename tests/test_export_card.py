"""The card and the page of an exported file: its numbers, its warnings, its snippet."""

import hashlib
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
from small_exports import ATTACKS, CLASSES, SHA256, Exported, evaluation

from absld.export.artefact import torch_network
from absld.export.text import card_text


def test_the_card_describes_the_file_and_copies_the_evaluation(exported: Exported) -> None:
    card = exported.card
    assert card["file"] == {
        "name": "student.onnx",
        "bytes": len(exported.model),
        "sha256": hashlib.sha256(exported.model).hexdigest(),
    }
    assert card["attacks"] == exported.sources.evaluation["attacks"]
    assert card["training"]["epoch"] == 27
    assert card["teacher"]["accuracy"] == {"pgd": {"average": 0.7125, "worst": 0.5}}
    assert card["training"]["train"] == exported.sources.training["train"]
    assert card["data"]["sha256"] == SHA256
    assert card["data"]["counts"]["test"]["8"] == 35
    assert card["variants"] is None


def test_the_card_has_what_was_measured_on_the_file(exported: Exported) -> None:
    """Square began with images that torch classifies correctly; the examples are those that were stored."""
    measured = exported.card["onnx"]
    network = torch_network(exported.student)
    for attack, n in {"pgd": 40, "aa": 9}.items():
        x, y = exported.adversarial[f"{attack}_x"], exported.adversarial[f"{attack}_y"]
        right = float((network(x).argmax(1) == y).mean())
        assert measured["transfer"][attack] == {"n": n, "torch": pytest.approx(right), "file": pytest.approx(right)}
    square = measured["square"]
    assert square["queries"] == 20
    assert 0 < square["n"] <= 100
    assert square["accuracy"] == pytest.approx(square["torch_accuracy"], abs=0.1)


def test_the_page_holds_the_numbers(exported: Exported) -> None:
    page = (exported.folder / "card.md").read_text(encoding="utf-8")
    assert "**70.8 %** on average over the classes and **58.3 %** on the weakest, nine\\|9" in page
    assert "under AutoAttack within L∞ 0.1 it is **48.6 %** on average over the classes and **36.1 %**" in page
    rows = {line.split(" | ")[0]: line for line in page.splitlines() if line.startswith("| ")}
    assert rows["| PGD-20"].startswith("| PGD-20 | 360 | 59.7 (")
    assert rows["| nine\\|9"].count("**") == 2 * len(ATTACKS)  # the lowest class in every column
    assert hashlib.sha256(exported.model).hexdigest() in page
    assert len(page) < 8000  # MLflow shows no longer one on a run's page


def test_the_snippet_of_the_page_runs(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (exported.folder / "card.md").read_text(encoding="utf-8")
    snippet = page.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(exported.folder)
    printed = StringIO()
    with redirect_stdout(printed):
        exec(snippet, {})
    black = torch_network(exported.student)(np.zeros((1, 1, 8, 8), np.float32))
    assert printed.getvalue() == f"[{CLASSES[int(black.argmax())]!r}]\n"


def test_the_page_says_what_must_be_said(exported: Exported) -> None:
    card = exported.card
    page = card_text(card)
    assert "chosen on the test images" not in page
    assert "| square\\_not\\_below\\_apgd | passed | Square found 0 more |" in page
    assert "changes each value of an image by at most 0.1, within [0, 1] (L∞ 0.1)" in page
    assert "| Settings | alpha 0.8333, attack (eps 0.1, start gaussian), milestones 17 21 |" in page
    assert "| Augmentation | crop\\_padding 1 |" in page
    assert "| Licences | data CC BY 4.0; teacher your own |" in page
    assert "digits, 1,260 images trained on: scikit-learn" in page
    assert "Under AutoAttack the accuracy of a class rests on 36 images on average" in page
    assert "absld repro export@absld-0\nsha256sum runs/absld-s0/export/student.onnx" in page
    assert "## Smaller files" not in page
    card["training"]["select_on"] = "test"
    card["checks"]["square_not_below_apgd"] = {"passed": False, "detail": "Square found 4 more"}
    page = card_text(card)
    assert "**The epoch was chosen on the test images**" in page
    assert "**1 of 1 failed: the accuracies may be too good.**" in page
    assert "| square\\_not\\_below\\_apgd | **failed** | Square found 4 more |" in page
    card["attacks"] = {"clean": card["attacks"]["clean"]}
    assert "**It was not attacked**" in card_text(card)
    card["parity"]["labels_tolerated"] = 2
    assert "On 2 of them the label differs" in card_text(card)


def test_of_many_classes_the_page_shows_the_weakest(exported: Exported) -> None:
    names = [f"class {k}" for k in range(100)]
    many = evaluation(names)
    page = card_text({**exported.card, "classes": names, "attacks": many["attacks"]})
    rows = [line for line in page.splitlines() if line.startswith("| class ")]
    assert len(rows) == 20
    assert "class 0 " not in "".join(rows)
    assert "mean of the worst tenth" in page
