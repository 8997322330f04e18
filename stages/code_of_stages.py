"""Write down which code the stages execute that are the same for all methods."""

from absld.records.files import write_text
from stages.contracts import ALL, CODE_OF_STAGES
from stages.declared import declared, resolved
from stages.opening import Opened, code_of, listing, main


def work(stage: Opened) -> None:
    """One file for each stage."""
    contracts = {contract.name: contract for contract in ALL}
    for name, path in stage.writes.items():
        methods = stage.methods if name == "fetch_teacher" else []
        values = resolved(stage.params, declared(contracts[name], {}))
        write_text(path, listing(code_of(stage.root, name, *methods), values))


if __name__ == "__main__":
    main(CODE_OF_STAGES, work)
