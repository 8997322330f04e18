"""Attack a student: `python -m stages.evaluate METHOD SEED`."""

from absld.data.dataset import read_card, read_split
from absld.device import limit_threads, pick
from absld.evaluation.arrays import write_npz
from absld.evaluation.evaluate import evaluate
from absld.evaluation.refusals import naming
from absld.evaluation.workers import worthwhile
from absld.heap import keep_freed_memory
from absld.networks.weights import load
from absld.records.files import digest, sha256_of, write_json
from absld.records.numbers import number_text
from stages.contracts import EVALUATE
from stages.opening import Opened, main


def work(stage: Opened) -> None:
    """Measure the best epoch in full and the last one in short, on the test split."""
    from absld.watch.progress import Progress

    keep_freed_memory()
    reads, writes, settings = stage.reads, stage.writes, stage.params.evaluate
    card, device = read_card(reads["card"]), pick(stage.params.train.device)
    limit_threads(card.size)
    split = read_split(reads["test_x"], reads["test_y"])
    with Progress(str(stage.run)) as progress, naming(str(stage.run)):
        found = evaluate(
            load(reads["best"], device),
            load(reads["last"], device),
            split,
            card.classes,
            settings,
            teacher=load(reads["teacher"], device),
            scratch=stage.scratch,
            processes=worthwhile(device),
            on_progress=progress,
            on_classes=lambda attack, table: progress.classes(attack, card.classes, table),
        )
    write_npz(writes["verdicts"], found.verdicts)
    write_npz(writes["adversarial"], found.adversarial)
    evaluation = {
        "run": str(stage.run),
        "method": stage.run.method,
        "seed": stage.run.seed,
        "dataset": card.name,
        "n": len(split),
        "classes": card.classes,
        "threat_model": {"norm": "Linf", "eps": settings.eps, "eps_text": number_text(settings.eps)},
        "attacks": found.attacks,
        "last": found.last,
        "curves": found.curves,
        "checks": found.checks,
        "provenance": {
            "weights_sha256": sha256_of(reads["best"]),
            "data_sha256": digest([sha256_of(reads[name]) for name in ("test_x", "test_y")]),
            "params_sha256": stage.params_sha256,
            "code_sha256": stage.code_sha256,
        },
    }
    write_json(writes["evaluation"], evaluation)


if __name__ == "__main__":
    main(EVALUATE, work)
