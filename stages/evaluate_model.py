"""Attack a model that was not trained here: `python -m stages.evaluate_model --weights FILE --arch NAME`.

Not a stage of the pipeline: DVC knows nothing of what it writes to evaluations/NAME/. The data and the attacks are
those of params.yaml. `absld evaluate` starts it.
"""

import argparse
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import torch

from absld.data.card import Card
from absld.data.dataset import Split, read_card, read_split
from absld.errors import InputError
from absld.evaluation.arrays import write_npz
from absld.evaluation.black_box import evaluate_black_box
from absld.evaluation.evaluate import Evaluation, evaluate
from absld.evaluation.examples import Examples
from absld.evaluation.refusals import EvaluationRefusedError
from absld.evaluation.workers import worthwhile
from absld.export.attacked import Asked
from absld.export.foreign import open_network
from absld.heap import keep_freed_memory
from absld.networks.given import Normalisation, read_given
from absld.records.files import digest, read_json, sha256_of, write_json
from absld.records.numbers import number_text
from absld.training.device import limit_threads, pick
from absld.watch.progress import Progress
from stages.contracts import CARD, DATA, Stage
from stages.opening import Opened, open_stage

MODEL = Stage(
    "evaluate_model",
    reads={"test_x": DATA["test_x"], "test_y": DATA["test_y"], **CARD},
    writes={name: f"evaluations/{{name}}/{name}.{kind}" for name, kind in
            (("verdicts", "npz"), ("adversarial", "npz"), ("evaluation", "json"))},
    params=("evaluate", "train.device"),
    axes=("name",),
)  # fmt: skip


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate_model", description=__doc__)
    parser.add_argument("--name", required=True, help="of the folder below evaluations/")
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--weights", type=Path, help="a checkpoint: every attack of params.yaml")
    model.add_argument("--onnx", type=Path, help="an ONNX file: Square and transferred examples only")
    parser.add_argument("--arch", help="architecture of the checkpoint")
    parser.add_argument("--mean", help="normalisation inside the network, by channel: 0.49,0.48,0.45")
    parser.add_argument("--std", help="the same")
    parser.add_argument("--adversarial", type=Path, help="adversarial examples for the ONNX file, an .npz")
    return parser.parse_args(given)


def work(asked: argparse.Namespace, root: Path) -> None:
    """Evaluate, and write the three files of an evaluation."""
    stage = open_stage(MODEL, root, name=asked.name)
    for path in stage.reads.values():
        if not path.is_file():
            raise InputError(f"{path.relative_to(root)} is missing: `absld repro fetch_data` makes it")
    keep_freed_memory()
    card = read_card(stage.reads["card"])
    limit_threads(card.size)
    file: Path = asked.weights or asked.onnx
    if not file.is_file():
        raise InputError(f"there is no file {file}: correct the path")
    weights_sha256 = sha256_of(file)
    _is_ours(stage, weights_sha256)
    options = {"arch": asked.arch, "mean": asked.mean, "std": asked.std}
    examples_sha256 = sha256_of(asked.adversarial) if asked.adversarial and asked.adversarial.is_file() else None
    fingerprint = digest([stage.fingerprint, stage.code, weights_sha256, options, examples_sha256])
    scratch = root / ".absld/scratch" / f"evaluate_model-{asked.name}-{fingerprint[:16]}"
    split = read_split(stage.reads["test_x"], stage.reads["test_y"])
    with Progress(asked.name) as progress:
        attack = _white_box if asked.weights else _black_box
        found, about = attack(stage, asked, split, card, scratch, progress)
    _write(stage, found, card, len(split), {"file": file.name, **about}, weights_sha256)
    shutil.rmtree(scratch, ignore_errors=True)


def _white_box(
    stage: Opened, asked: argparse.Namespace, split: Split, card: Card, scratch: Path, progress: Progress
) -> tuple[Evaluation, dict[str, Any]]:
    device = pick(stage.params.train.device)
    network = read_given(
        asked.weights, asked.arch, _normalisation(asked.mean, asked.std),
        classes=len(card.classes), channels=card.channels, size=card.size,
    ).to(device)  # fmt: skip
    found = evaluate(
        network, None, split, card.classes, stage.params.evaluate,
        scratch=scratch, processes=worthwhile(device), on_progress=progress,
        on_classes=lambda attack, table: progress.classes(attack, card.classes, table),
    )  # fmt: skip
    return found, {
        "architecture": network.spec.architecture, "normalisation": network.spec.normalisation, "white_box": True,
    }  # fmt: skip


def _black_box(
    stage: Opened, asked: argparse.Namespace, split: Split, card: Card, scratch: Path, progress: Progress
) -> tuple[Evaluation, dict[str, Any]]:
    settings, examples, about = stage.params.evaluate, None, None
    if asked.adversarial is not None:
        examples = Examples.read(asked.adversarial, split, settings.eps)
        about = {"examples": asked.adversarial.name, "examples_sha256": sha256_of(asked.adversarial)}
    network = Asked(open_network(asked.onnx, card, torch.get_num_threads()))
    found = evaluate_black_box(
        network, split, card.classes, settings, examples, examples_about=about, scratch=scratch, on_progress=progress,
        on_classes=lambda attack, table: progress.classes(attack, card.classes, table),
    )  # fmt: skip
    return found, {"architecture": None, "normalisation": None, "white_box": False}


def _normalisation(mean: str | None, std: str | None) -> Normalisation | None:
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise InputError(
            "--mean and --std belong together: give both, or none where the network takes pixels in [0, 1]"
        )
    try:
        means, stds = (tuple(float(value) for value in text.split(",")) for text in (mean, std))
    except ValueError:
        raise InputError(f"--mean {mean} --std {std}: write a number for each channel, like 0.49,0.48,0.45") from None
    if not all(value > 0 for value in stds):
        raise InputError(f"--std {std}: a standard deviation is above 0")
    return means, stds


def _is_ours(stage: Opened, weights_sha256: str) -> None:
    """A folder belongs to one model: another of the same name would put its numbers in the place of the first's."""
    path = stage.writes["evaluation"]
    if path.is_file() and read_json(path)["provenance"]["weights_sha256"] != weights_sha256:
        folder = path.parent.relative_to(stage.root)
        raise InputError(f"{folder} is the evaluation of another file: give --name another name, or delete the folder")


def _write(stage: Opened, found: Evaluation, card: Card, n: int, model: dict[str, Any], weights_sha256: str) -> None:
    eps = stage.params.evaluate.eps
    write_npz(stage.writes["verdicts"], found.verdicts)
    write_npz(stage.writes["adversarial"], found.adversarial)
    evaluation = {
        "run": stage.axes["name"],
        "model": model,
        "dataset": card.name,
        "n": n,
        "classes": card.classes,
        "threat_model": {"norm": "Linf", "eps": eps, "eps_text": number_text(eps)},
        "attacks": found.attacks,
        "last": found.last,
        "curves": found.curves,
        "checks": found.checks,
        "provenance": {
            "weights_sha256": weights_sha256,
            "data_sha256": digest([sha256_of(stage.reads[name]) for name in ("test_x", "test_y")]),
            "params_sha256": stage.params_sha256,
            "code_sha256": stage.code_sha256,
        },
    }
    write_json(stage.writes["evaluation"], evaluation)


def main(given: list[str] | None = None) -> NoReturn:
    """Run it as a program. Exit code 2: the input is wrong; 1: the numbers would not mean what they say."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    code = 0
    try:
        work(arguments(given), Path.cwd())
    except InputError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        code = 2
    except EvaluationRefusedError as error:
        print(f"evaluate: refused: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
