"""Turn the best student into the files that ship, and their card: `python -m stages.export METHOD SEED`."""

from absld.data.dataset import read_card, read_split
from absld.evaluation.arrays import read_npz
from absld.export.artefact import Material, export
from absld.export.card import Sources
from absld.networks.weights import load
from absld.records.files import read_json, sha256_of
from stages.contracts import EXPORT
from stages.opening import Opened, main


def work(stage: Opened) -> None:
    """On the CPU, whatever the student was trained on: that is where it is compared with the file."""
    from absld.watch.progress import Progress

    reads = stage.reads
    student = load(reads["best"])
    sources = Sources(
        run=str(stage.run),
        spec=student.spec,
        parameters=sum(parameter.numel() for parameter in student.parameters()),
        weights_sha256=sha256_of(reads["best"]),
        evaluation=read_json(reads["evaluation"]),
        training=read_json(reads["state"]),
        data=read_card(reads["card"]),
        teacher=read_json(reads["teacher_card"]),
        opset=stage.params.export.opset,
        params_sha256=stage.params_sha256,
        code_sha256=stage.code_sha256,
    )
    test, validation = (read_split(reads[f"{split}_x"], reads[f"{split}_y"]) for split in ("test", "validation"))
    material = Material(test, validation, read_npz(reads["adversarial"]))
    with Progress(str(stage.run)) as progress:
        export(student, sources, material, stage.params.export, stage.writes, progress)


if __name__ == "__main__":
    main(EXPORT, work)
