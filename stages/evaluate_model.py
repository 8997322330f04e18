"""Attack a model that was not trained here: `python -m stages.evaluate_model --weights FILE --arch NAME`.

Not a stage of the pipeline: DVC knows nothing of what it writes to evaluations/NAME/. The data and the attacks are
those of params.yaml, unless others are named. `absld evaluate` starts it.
"""

import argparse
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

from absld.data.card import Card
from absld.data.dataset import read_card
from absld.data.given import Given, look_at
from absld.device import limit_threads, pick
from absld.errors import EvaluationRefusedError, InputError
from absld.evaluation.arrays import write_npz
from absld.evaluation.black_box import evaluate_black_box
from absld.evaluation.evaluate import Evaluation, evaluate
from absld.evaluation.examples import Examples
from absld.evaluation.overrides import check_attacks, overridden, parse_eps
from absld.evaluation.workers import worthwhile
from absld.export import foreign
from absld.export.attacked import Asked
from absld.heap import keep_freed_memory
from absld.networks.given import class_names, parse_normalisation, read_given
from absld.records.files import digest, read_json, sha256_of, write_json
from absld.records.numbers import number_text
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
    parser.add_argument("--data", type=Path, help="test images: class folders, or what fetch_data wrote")
    parser.add_argument("--size", type=int, help="height and width that image files are brought to")
    parser.add_argument("--channels", type=int, choices=(1, 3), help="the same: grey or colour")
    parser.add_argument("--attack", action="append", default=[], help="only this one; may be given again")
    parser.add_argument("--eps", help="radius in the place of evaluate.eps: 4/255")
    return parser.parse_args(given)


def work(asked: argparse.Namespace, root: Path) -> None:
    """Evaluate, and write the three files of an evaluation."""
    file: Path = asked.weights or asked.onnx
    if not file.is_file():
        raise InputError(f"there is no file {file}: correct the path")
    stage = _opened(asked, root)
    data = _data(stage, asked).ordered(class_names(file) if asked.weights else foreign.class_names(file))
    keep_freed_memory()
    limit_threads(data.card.size)
    network, model = _network(asked, data.card)
    weights_sha256 = sha256_of(file)
    examples_sha256 = sha256_of(asked.adversarial) if asked.adversarial and asked.adversarial.is_file() else None
    about = {
        "model": {"file": file.name, **model},
        "data": asked.data and {"folder": asked.data.resolve().name, "sha256": data.sha256},
        "overrides": {"attacks": asked.attack or None, "eps": asked.eps and stage.params.evaluate.eps},
    }
    _refuse_another_subject(stage, data, weights_sha256, about, examples_sha256)
    images = [data.sha256, data.card.classes, data.card.size, data.card.channels]
    fingerprint = digest([stage.fingerprint, stage.code, weights_sha256, model, images, examples_sha256])
    scratch = root / ".absld/scratch" / f"evaluate_model-{asked.name}-{fingerprint[:16]}"
    with Progress(asked.name) as progress:
        attack = _white_box if asked.weights else _black_box
        found = attack(stage, asked, network, data, scratch, progress)
    split, files = data.split(scratch / "data")
    provenance = {"weights_sha256": weights_sha256, "data_sha256": digest([sha256_of(path) for path in files])}
    _write(stage, found, data.card, len(split), about, provenance)
    shutil.rmtree(scratch, ignore_errors=True)


def _opened(asked: argparse.Namespace, root: Path) -> Opened:
    """The stage with the attacks that are asked for, and without the images of params.yaml where others are named."""
    check_attacks(asked.attack, white_box=asked.weights is not None)
    stage = open_stage(MODEL, root, name=asked.name)
    settings = overridden(stage.params.evaluate, asked.attack, parse_eps(asked.eps) if asked.eps else None)
    params = stage.params.model_copy(update={"evaluate": settings})
    return replace(stage, params=params, reads={} if asked.data else stage.reads)


def _data(stage: Opened, asked: argparse.Namespace) -> Given:
    if asked.data is not None:
        return look_at(asked.data, asked.size, asked.channels)
    if asked.size is not None or asked.channels is not None:
        raise InputError("--size and --channels are for the image files of --data: name a folder, or leave them out")
    for path in stage.reads.values():
        if not path.is_file():
            raise InputError(f"{path.relative_to(stage.root)} is missing: `absld repro fetch_data` makes it")
    return Given(stage.reads["card"].parent, read_card(stage.reads["card"]), None)


def _network(asked: argparse.Namespace, card: Card) -> tuple[nn.Module, dict[str, Any]]:
    """The network, and what evaluation.json says of it."""
    if asked.onnx is not None:
        file = Asked(foreign.open_network(asked.onnx, card, torch.get_num_threads()))
        return file, {"architecture": None, "normalisation": None, "white_box": False}
    network = read_given(
        asked.weights, asked.arch, parse_normalisation(asked.mean, asked.std),
        classes=len(card.classes), channels=card.channels, size=card.size,
    )  # fmt: skip
    inside = network.spec.normalisation
    return network, {
        "architecture": network.spec.architecture, "normalisation": inside and [*map(list, inside)], "white_box": True,
    }  # fmt: skip


def _white_box(
    stage: Opened, asked: argparse.Namespace, network: nn.Module, data: Given, scratch: Path, progress: Progress
) -> Evaluation:
    device, card = pick(stage.params.train.device), data.card
    split, _ = data.split(scratch / "data")
    return evaluate(
        network.to(device), None, split, card.classes, stage.params.evaluate,
        scratch=scratch, processes=worthwhile(device), on_progress=progress,
        on_classes=lambda attack, table: progress.classes(attack, card.classes, table),
    )  # fmt: skip


def _black_box(
    stage: Opened, asked: argparse.Namespace, network: nn.Module, data: Given, scratch: Path, progress: Progress
) -> Evaluation:
    settings, card, examples, about = stage.params.evaluate, data.card, None, None
    split, _ = data.split(scratch / "data")
    if asked.adversarial is not None:
        examples = Examples.read(asked.adversarial, split, settings.eps, card.classes)
        about = {"examples": asked.adversarial.name, "examples_sha256": sha256_of(asked.adversarial)}
    return evaluate_black_box(
        network, split, card.classes, settings, examples, examples_about=about, scratch=scratch, on_progress=progress,
        on_classes=lambda attack, table: progress.classes(attack, card.classes, table),
    )  # fmt: skip


def _refuse_another_subject(
    stage: Opened, data: Given, weights_sha256: str, about: dict[str, Any], examples_sha256: str | None
) -> None:
    """A folder belongs to one model on one set of images: another's numbers would take the place of the first's."""
    path = stage.writes["evaluation"]
    if not path.is_file():
        return
    mend = "give --name another name, or delete the folder"
    folder = path.parent.relative_to(stage.root)
    try:
        known = read_json(path)
        theirs = known["provenance"]["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder}/{path.name} cannot be read as an evaluation: {mend}") from None
    if theirs != weights_sha256:
        raise InputError(f"{folder} is the evaluation of another file: {mend}")
    transfer = known.get("attacks", {}).get("transfer", {}).get("settings", {})
    before = _by_option(known, transfer.get("examples_sha256"))
    for options, value in _by_option(about, examples_sha256).items():
        if before[options] != value:
            raise InputError(f"{folder} is an evaluation with other {options}: {mend}")
    if about["data"] is None and known["provenance"].get("data_sha256") != digest([*data.sha256.values()]):
        raise InputError(f"{folder} is an evaluation on other images than those of params.yaml: {mend}")


def _by_option(evaluation: dict[str, Any], examples_sha256: str | None) -> dict[str, Any]:
    """What makes numbers of one file different, whatever the file is called."""
    return {
        "--arch, --mean or --std": {**evaluation.get("model", {}), "file": None},
        "--adversarial": examples_sha256,
        "--data": evaluation.get("data"),
        "--attack or --eps": evaluation.get("overrides", {"attacks": None, "eps": None}),
    }


def _write(
    stage: Opened, found: Evaluation, card: Card, n: int, about: dict[str, Any], provenance: dict[str, str]
) -> None:
    eps = stage.params.evaluate.eps
    write_npz(stage.writes["verdicts"], found.verdicts)
    write_npz(stage.writes["adversarial"], found.adversarial)
    evaluation = {
        "run": stage.axes["name"],
        **about,
        "dataset": card.name,
        "n": n,
        "classes": card.classes,
        "threat_model": {"norm": "Linf", "eps": eps, "eps_text": number_text(eps)},
        "attacks": found.attacks,
        "last": found.last,
        "curves": found.curves,
        "checks": found.checks,
        "provenance": {**provenance, "params_sha256": stage.params_sha256, "code_sha256": stage.code_sha256},
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
