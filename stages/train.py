"""Train a student: `python -m stages.train METHOD SEED`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from absld.data.dataset import read_card
from absld.networks.frozen import frozen_view
from absld.networks.weights import load, save
from absld.records.files import write_json
from absld.records.history import write_history
from absld.training.checkpoint import Checkpoint
from absld.training.device import limit_threads, pick
from absld.training.fit import Run
from absld.training.session import train_network
from absld.training.task import read_task, spec_for
from stages.contracts import TRAIN
from stages.opening import Opened, main


def work(stage: Opened) -> None:
    """Distil the teacher into a student; the best epoch on validation is what goes on."""
    name, seed = stage.run
    train, student = stage.params.train, stage.params.student
    block = getattr(stage.params.methods, name)
    epochs = min(block.epochs, train.max_epochs or block.epochs)
    card = read_card(stage.reads["card"])
    limit_threads(card.size)
    device = pick(train.device)
    task = read_task(
        stage.reads,
        card,
        device,
        select_on=train.select_on,
        augmentation=train.augmentation,
        validation=train.validation,
        seed=seed,
    )
    with watched(stage, epochs) as show:
        run = train_network(
            spec_for(student.architecture, student.normalisation, card),
            name,
            block,
            task,
            Checkpoint(stage.scratch),
            show,
            epochs=epochs,
            teacher=frozen_view(load(stage.reads["teacher"], device)),
        )
    write(stage, run, task.classes)


def write(stage: Opened, run: Run, classes: tuple[str, ...]) -> None:
    """All outs, from the run alone: what was on disk before a kill does not matter."""
    name, seed = stage.run
    save(stage.writes["last"], run.student, epoch=run.epoch)
    run.take_best()
    save(stage.writes["best"], run.student, epoch=run.best_epoch)
    write_history(stage.writes["history"], run.rows)
    best = {row.quantity: row.value for row in run.rows if row.epoch == run.best_epoch and not row.class_name}
    state = {
        "method": name,
        "seed": seed,
        "epochs": run.epoch,
        "best_epoch": run.best_epoch,
        "best": {"average": best["validation/pgd_average"], "worst": best["validation/pgd_worst"]},
        "select_on": stage.params.train.select_on,
        "state": {key: dict(zip(classes, values.tolist(), strict=True)) for key, values in sorted(run.state.items())},
        "settings": stage.resolved[f"methods.{name}"],
    }
    write_json(stage.writes["state"], state)


@contextmanager
def watched(stage: Opened, epochs: int) -> Iterator[Callable[[Run], None]]:
    """Show every epoch on the terminal and, where MLflow is at hand, in its run."""
    from absld.watch.mlflow_mirror import identity, training
    from absld.watch.progress import Progress

    with training(stage.root, identity(stage)) as live, Progress(str(stage.run), epochs) as progress:

        def show(run: Run) -> None:
            live.log(run.rows)
            progress.epoch(run.epoch, {row.key: row.value for row in run.rows if row.epoch == run.epoch})

        yield show


if __name__ == "__main__":
    main(TRAIN, work)
