"""Train a student: `python -m stages.train METHOD SEED`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from absld import distributed
from absld.data.dataset import read_card
from absld.data.task import Task, own_augmentation, own_normalisation, read_task, spec_for
from absld.device import limit_threads, pick
from absld.engine.choose import Speed
from absld.networks.weights import load, save
from absld.networks.zoo import Classifier, Spec
from absld.params.agreement import brought
from absld.params.base import Section
from absld.params.train import Train
from absld.records.files import digest, sha256_of, write_json
from absld.records.history import write_history
from absld.training.brought import bring, refuse_last_batches
from absld.training.checkpoint import Checkpoint
from absld.training.run import Run
from absld.training.session import train_network
from stages.contracts import CARD, DATA, TRAIN
from stages.opening import Opened, code_of, main
from stages.together import together


def work(stage: Opened) -> None:
    """Train a student with its method; the epoch that is best on validation is what goes on."""
    name, seed = stage.run
    train, student, block = stage.params.train, stage.params.student, stage.block
    card = read_card(stage.reads["card"])
    limit_threads(card.size)
    task = read_task(
        stage.reads,
        card,
        pick(train.device),
        select_on=train.select_on,
        augmentation=own_augmentation(block, train.augmentation),
        attack=train.validation,
        seed=seed,
    )
    spec = spec_for(student.architecture, own_normalisation(block, student.normalisation), card)
    refuse_last_batches(block, spec, task)
    teacher = load(stage.reads["teacher"], task.device) if "teacher" in block.needs else None
    speed = speed_of(train)
    networks = {key: obtained(stage, key, section, spec, task) for key, section in brought(block).items()}
    epochs = min(block.epochs, train.max_epochs or block.epochs)
    with watched(stage, epochs) as show:
        checkpoint = Checkpoint(stage.scratch)
        run = train_network(
            spec, name, block, task, checkpoint, show, epochs=epochs, speed=speed, teacher=teacher, brought=networks
        )
    if distributed.rank() == 0:
        tell(stage, run)
        write(stage, run, task.classes)


def tell(stage: Opened, run: Run) -> None:
    """Say how the run was executed, here and in the stage's log."""
    from absld.watch.progress import engine_line

    stage.notes.update(run.report)
    print(f"{stage.run}  {engine_line(run.report)}")


def speed_of(train: Train) -> Speed:
    """How params.yaml wants runs to be executed."""
    return Speed(train.engine, train.precision, train.teacher_memory)


def obtained(stage: Opened, key: str, section: Section, spec: Spec, task: Task) -> Classifier:
    """A network that the method brings. Its training has a fingerprint of its own, and outlives this stage."""
    known = [stage.resolved["student"], stage.resolved["train"], section.model_dump(exclude_none=True), task.seed]
    inputs = {name: sha256_of(stage.reads[name]) for name in {**DATA, **CARD}}
    fingerprint = digest([key, *known, inputs, code_of(stage.root, "train", *stage.methods[1:])])
    folder = stage.root / ".absld" / "brought" / f"{key}-{fingerprint[:16]}"

    @contextmanager
    def watch(name: str, epochs: int) -> Iterator[Callable[[Run], None]]:
        if distributed.rank() > 0:
            yield lambda run: None
            return
        from absld.watch.progress import Progress

        with Progress(f"{stage.run} {key.replace('_', ' ')} ({name})", epochs) as progress:
            yield lambda run: progress.epoch(run.epoch, run.values)

    train = stage.params.train
    return bring(
        section, spec, task,
        root=stage.root, folder=folder, epochs=train.max_epochs, watch=watch, speed=speed_of(train),
    )  # fmt: skip


def write(stage: Opened, run: Run, classes: tuple[str, ...]) -> None:
    """All outs, from the run alone: what was on disk before a kill does not matter."""
    name, seed = stage.run
    run.take(run.weights)
    save(stage.writes["last"], run.student, epoch=run.epoch, classes=classes)
    run.take(run.best_weights)
    save(stage.writes["best"], run.student, epoch=run.best_epoch, classes=classes)
    write_history(stage.writes["history"], run.rows)
    best = {row.quantity: row.value for row in run.rows if row.epoch == run.best_epoch and not row.class_name}
    state = {
        "method": name,
        "seed": seed,
        "epochs": run.epoch,
        "best_epoch": run.best_epoch,
        "best": {"average": best["validation/pgd_average"], "worst": best["validation/pgd_worst"]},
        "select_on": stage.params.train.select_on,
        "state": {
            key: dict(zip(classes, value.tolist(), strict=True)) if value.dim() else float(value)
            for key, value in sorted(run.state.items())
        },
        "settings": stage.resolved[f"methods.{name}"],
        "train": stage.resolved["train"],
    }
    write_json(stage.writes["state"], state)


@contextmanager
def watched(stage: Opened, epochs: int) -> Iterator[Callable[[Run], None]]:
    """Show every epoch on the terminal and, where MLflow is at hand, in its run."""
    if distributed.rank() > 0:
        yield lambda run: None
        return
    from absld.watch.mlflow_mirror import identity, training
    from absld.watch.progress import Progress

    with training(stage.root, identity(stage)) as live, Progress(str(stage.run), epochs) as progress:

        def show(run: Run) -> None:
            stage.notes.setdefault("resumed_after_epoch", run.epoch)
            live.log(run.rows)
            progress.epoch(run.epoch, run.values)

        yield show


if __name__ == "__main__":
    main(TRAIN, together(work))
