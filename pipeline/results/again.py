"""How the kept runs were made, and the commands that make every number again: from params.yaml, cards and made.json."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from absld.params.yaml_file import read_yaml
from absld.records.attacks import attack_label
from absld.records.files import digest
from absld.records.layout import RunKey
from absld.report.markdown import escape
from absld.report.wording import method_label, percent
from pipeline import profiles
from pipeline.kept import PARAMS
from pipeline.results.contrasts import BY_CLASS, Compared
from pipeline.results.reading import Kept, Results

PLACE = "data.root=FOLDER"
"""Where the images lie is each machine's own."""
MOST_COMMITS = 3
"""That are named."""


@dataclass(frozen=True)
class Batch:
    """Runs that were made with the same params.yaml."""

    profile: str | None
    """The profile that says the same; None: no profile does."""
    kept: Sequence[Kept]

    @property
    def named(self) -> list[RunKey]:
        """All runs that its params.yaml names. Those kept with another one, which comes later, replaced them."""
        runs = self.kept[0].params["runs"]
        return [RunKey(method, seed) for method in runs["methods"] for seed in runs["seeds"]]


def batches(results: Results) -> list[Batch]:
    """The runs by their params.yaml, in the order in which they must be made."""
    found: dict[str, list[Kept]] = {}
    for kept in results.kept:
        found.setdefault(_digest(kept.params), []).append(kept)
    return sorted(
        (Batch(_profiles().get(said), of) for said, of in found.items()), key=lambda of: len(of.kept) - len(of.named)
    )


@cache
def _profiles() -> dict[str, str]:
    """The name of each profile, by what it says."""
    return {_digest(read_yaml(profiles.FOLDER / f"{name}.yaml")): name for name in profiles.names()}


def commands(results: Results, folder: str) -> Iterator[str]:
    """The command lines; `folder` is the runs', as it is typed in the project's folder."""
    known = {kept.run.key for kept in results.kept}
    for batch in batches(results):
        first = batch.kept[0]
        profile = "" if batch.profile is None else f" --profile {batch.profile}"  # it keeps what --set wrote before
        place = f" --set {PLACE}" if "root" in first.params["data"] else ""
        only = [] if known.issuperset(batch.named) else [kept.run.key for kept in batch.kept]
        stages, runs = [f" export@{key.method}-{key.seed}" for key in only], [f" {key}" for key in only]
        if batch.profile is None:
            yield f"cp {folder}/{first.folder.name}/{PARAMS} {PARAMS}"
        yield f"absld repro{''.join(stages)}{profile}{place}"
        yield f"absld keep {folder}{''.join(runs)}"
    yield "python -m pipeline.results"


def comparisons(of: Compared, folder: str) -> Iterator[str]:
    """The commands that show the two students of each seed image by image."""
    for seed in of.under[BY_CLASS].seeds:
        runs = " ".join(f"{folder}/{method}-s{seed}" for method in (of.first, of.second))
        yield f"absld compare {runs} --attack {BY_CLASS}"


def made(results: Results) -> Iterator[str]:
    """On which data, with which teacher, at which commit, in what time."""
    counts = {split: sum(of.values()) for split, of in results.data["counts"].items()}
    images = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    yield f"Data: {escape(results.data['name'])}, {images} images. {escape(results.data['source'].rstrip('.'))}."
    teacher = results.teacher
    accuracy = "; ".join(
        f"{attack_label(attack, of['settings'])}: average {percent(of['accuracy']['average'])} %, "
        f"worst class {percent(of['accuracy']['worst'])} %"
        for attack, of in teacher["accuracy"].items()
    )
    yield f"Teacher: {escape(teacher['architecture'])}, {escape(teacher['source'])} ({accuracy})."
    yield f"Epochs: {_by_value({method: of[0].run.state['epochs'] for method, of in results.by_method.items()})}."
    for origin, kept in _origins(results).items():
        yield f"{', '.join(f'`{each.run.key}`' for each in kept)}: {_commits(kept)}, {origin}; {_seconds(kept)}."


def _origins(results: Results) -> dict[str, list[Kept]]:
    """The runs by what they were made with."""
    found: dict[str, list[Kept]] = {}
    for kept in results.kept:
        found.setdefault(_origin(kept.made), []).append(kept)
    return found


def _origin(made: Mapping[str, Any]) -> str:
    changed = ", ".join(escape(name) for name in made["changed"])
    parts = [
        f"absld {made['absld']}",
        f"torch {made['torch']}" if made["torch"] else "",
        f"{made['device']}, {made['cpus']} cores" if made["device"] else "",
        f"with {changed} as it is kept" if changed == PARAMS else f"with changes in {changed}" if changed else "",
    ]
    return ", ".join(filter(None, parts))


def _commits(kept: Sequence[Kept]) -> str:
    commits = list(dict.fromkeys(each.made["commit"][:10] for each in kept if each.made["commit"]))
    if len(commits) > MOST_COMMITS:
        return f"{len(commits)} commits, each in its run's made.json"
    return f"commit {' and '.join(commits)}" if commits else "no commit"


def _seconds(kept: Sequence[Kept]) -> str:
    """The shortest and the longest of these runs, stage by stage."""
    told = []
    for stage in ("train", "evaluate", "export"):
        seconds = sorted(each.made["seconds"][stage] for each in kept if stage in each.made["seconds"])
        ends = dict.fromkeys(f"{end:,.0f}" for end in (*seconds[:1], *seconds[-1:]))
        told += [f"{stage} {' to '.join(ends)} s"] if ends else []
    return ", ".join(told) or "times not recorded"


def _by_value(values: Mapping[str, int]) -> str:
    """30; FRL 10: the most frequent first and without names."""
    usual = max(sorted(set(values.values())), key=list(values.values()).count)
    others = [f"{method_label(method)} {value}" for method, value in values.items() if value != usual]
    return "; ".join([str(usual), *others])


def _digest(document: Mapping[str, Any]) -> str:
    """The same for documents that say the same, wherever the images lie."""
    data = {**document["data"], "root": None} if "root" in document["data"] else document["data"]
    return digest({**document, "data": data})
