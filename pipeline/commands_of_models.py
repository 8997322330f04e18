"""The commands about models in files, whoever trained them: `absld evaluate`, `predict`."""

from pathlib import Path
from typing import Annotated

import typer

ARCH = (
    "Needed for a checkpoint that absld did not write: resnet18, preact_resnet18, preact_resnet18_bare, mobilenet_v2, "
    "wrn_34_10, dm_wrn_70_16, tiny_resnet8, tiny_resnet16 or tiny_resnet32."
)
ATTACK = (
    "Only this one, besides clean images: fgsm, pgd, cw, aa (AutoAttack), or its parts apgd_ce, apgd_t, fab_t, square. "
    "May be repeated. Default: all of evaluate.attacks in params.yaml."
)


def evaluate(
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="A checkpoint: it meets every attack.")] = None,
    onnx: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An ONNX file: it meets Square and --adversarial only.")
    ] = None,
    arch: Annotated[str | None, typer.Option(metavar="NAME", help=ARCH)] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="M,M,M",
            help="For each channel, if the network was given (x - mean) / std, x in [0, 1]; give both. Default: x.",
        ),
    ] = None,
    std: Annotated[str | None, typer.Option(metavar="S,S,S", help="See --mean.")] = None,
    adversarial: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Adversarial examples of another network, which the ONNX file meets too. Default: none.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the folder below evaluations/. Default: the file's.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Test images: class folders, or what fetch_data wrote. Default: those of `data` in params.yaml.",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=8, max=1024, metavar="N", help="Bring the images of --data to NxN pixels. Default: taken as they are."
        ),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(metavar="1|3", help="Bring them to grey or colour. Default: grey if all are, else colour."),
    ] = None,
    attack: Annotated[list[str] | None, typer.Option(metavar="NAME", help=ATTACK)] = None,
    eps: Annotated[
        str | None, typer.Option(metavar="EPS", help="Radius, 0.1 or 4/255. Default: evaluate.eps of params.yaml.")
    ] = None,
) -> None:
    """Attack a model that was not trained here, as params.yaml says or on other images, with other attacks.

    What is found is written to evaluations/NAME/, which `absld compare` takes
    like a run. Killed, it goes on where it was. Of an ONNX file no gradients
    are known: white-box attacks are not run, and the numbers say so.

      absld evaluate --weights theirs.pt --arch resnet18 --mean 0.49,0.48,0.45 --std 0.25,0.24,0.26
      absld evaluate --weights theirs.pt --arch resnet18 --attack apgd_ce --attack square --eps 4/255
      absld evaluate --weights runs/absld-s0/train/best.safetensors --data photos --size 32 --name photos
      absld evaluate --onnx theirs.onnx --adversarial runs/absld-s0/evaluation/adversarial.npz
    """
    from pipeline import console
    from pipeline import evaluate as evaluation
    from pipeline.project import find_root

    root = find_root()
    model = evaluation.Model(
        weights, onnx, arch, mean, std, adversarial, name, data, size, channels, tuple(attack or ()), eps
    )
    code = evaluation.run(root, model)
    if code == 0:
        found = evaluation.read(root, model)
        console.show(evaluation.table(found))
        for remark in evaluation.remarks(found):
            console.say(remark)
        console.say(f"evaluation {console.near(root / evaluation.FOLDER / model.folder)}")
    raise typer.Exit(code)


def predict(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A student.onnx, or one of its smaller variants.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, or folders of them.")],
    top: Annotated[int, typer.Option(metavar="N", min=1, help="So many classes of each image.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each image.")] = False,
) -> None:
    """Label images with an exported student; it needs neither torch nor the project.

    What the classes are, and size, colour and range of its input, the file says
    itself. Other images are brought to that size: the shorter side is resized,
    then the centre is cropped.

      absld predict runs/absld-s0/export/student.onnx photo.jpg --top 3
      absld predict student.onnx photos/ --json
    """
    from absld.predict import Student, image_files
    from pipeline import console, predictions

    found = Student(file).predict(image_files(images), top)
    if as_json:
        for prediction in found:
            console.say(predictions.line(prediction))
    else:
        console.show(predictions.table(found))
