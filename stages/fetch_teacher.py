"""Fetch or train the robust teacher, and measure it before it teaches: `python -m stages.fetch_teacher`."""

from absld import distributed
from absld.data.dataset import Card, read_card, read_split
from absld.data.task import own_augmentation, own_normalisation, read_task, spec_for
from absld.device import limit_threads, pick
from absld.engine.choose import Speed
from absld.networks.weights import save
from absld.params.agreement import chosen_method
from absld.params.recipe import AdversarialMethod
from absld.params.teacher import TeacherTrained
from absld.teachers.card import Origin, write_card
from absld.teachers.measure import measure_teacher
from absld.teachers.obtain import Obtained, obtain
from absld.training.checkpoint import Checkpoint
from absld.training.run import Run
from absld.training.session import train_network
from stages.contracts import FETCH_TEACHER
from stages.opening import Opened, main
from stages.together import together


def work(stage: Opened) -> None:
    """Whatever its source, a teacher becomes safetensors beside a card that says how robust it is."""
    teacher, card = stage.params.teacher, read_card(stage.reads["card"])
    limit_threads(card.size)
    if isinstance(teacher, TeacherTrained):
        model, origin = trained(stage, teacher, card)
    else:
        model, origin = obtain(teacher, card, stage.root, stage.root / ".absld" / "downloads")
    if distributed.rank() > 0:
        return
    device = pick(stage.params.train.device)
    split = read_split(stage.reads["test_x"], stage.reads["test_y"])
    accuracy = measure_teacher(model.to(device), split, card, teacher.eps)
    save(stage.writes["teacher"], model)
    write_card(stage.writes["teacher_card"], model, origin, accuracy)
    for attack, block in accuracy.items():
        found = block["accuracy"]
        print(f"teacher  {attack}  average {found['average']:.1%}  worst class {found['worst']:.1%}")


def trained(stage: Opened, teacher: TeacherTrained, card: Card) -> Obtained:
    """A teacher trained here; the best epoch under its own attack, on the validation split."""
    from absld.watch.progress import Progress

    name, block = chosen_method(teacher)
    assert isinstance(block, AdversarialMethod)
    task = read_task(
        stage.reads,
        card,
        pick(stage.params.train.device),
        select_on="validation",
        augmentation=own_augmentation(block, teacher.augmentation),
        attack=block.attack,
        seed=teacher.seed,
    )
    spec = spec_for(teacher.architecture, own_normalisation(block, teacher.normalisation), card)
    with Progress("teacher", block.epochs) as progress:

        def show(run: Run) -> None:
            if distributed.rank() == 0:
                progress.epoch(run.epoch, run.values)

        speed = Speed(stage.params.train.engine, stage.params.train.precision)
        run = train_network(spec, name, block, task, Checkpoint(stage.scratch), show, epochs=block.epochs, speed=speed)
    stage.notes.update(run.report)
    run.take(run.best_weights)
    source = f"trained here: {name}, {block.epochs} epochs, seed {teacher.seed}; epoch {run.best_epoch} is the best"
    return Obtained(run.student.eval(), Origin(source, None, "trained here", card.licence))


if __name__ == "__main__":
    main(FETCH_TEACHER, together(work, when=lambda stage: isinstance(stage.params.teacher, TeacherTrained)))
