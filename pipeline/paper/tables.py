"""The four tables as printed, and what is wrong in them: what tables.yaml says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from absld.errors import InputError
from absld.params.yaml_file import read_yaml

FILE = Path(__file__).with_name("tables.yaml")
MEASURES = ("average", "worst", "overall")
"""What the three numbers under an attack are."""


class Place(NamedTuple):
    """Where a number stands."""

    table: int
    method: str
    attack: str
    measure: str


@dataclass(frozen=True)
class Table:
    """One of the paper's tables."""

    number: int
    dataset: str
    architecture: str
    profile: str
    """The profile that has its settings."""
    tail: str
    """What its Worst is: `worst` or `worst10`."""
    rows: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Method to attack to measure to percent, in the order of the paper."""

    @property
    def subject(self) -> str:
        """What was trained on what."""
        return f"{self.dataset} with {self.architecture}"


@dataclass(frozen=True)
class Finding:
    """An error in the tables."""

    kind: str
    """`sum`: Overall is not half of the other two; `copy`: it stands elsewhere too; `order`: AutoAttack is below CW."""
    places: frozenset[Place]
    says: str


@dataclass(frozen=True)
class Paper:
    """All tables."""

    source: str
    select_on: str
    """The images on which the published codes choose the best epoch."""
    tables: tuple[Table, ...]
    findings: tuple[Finding, ...]

    def table(self, number: int) -> Table:
        """A table by its number.

        Raises:
            InputError: there is none with this number.

        """
        for table in self.tables:
            if table.number == number:
                return table
        raise InputError(f"--table {number}: {self.what_there_is()}")

    def table_of(self, dataset: str, architecture: str) -> Table | None:
        """The table that is about this data set and this network."""
        return next((of for of in self.tables if (of.dataset, of.architecture) == (dataset, architecture)), None)

    def what_there_is(self) -> str:
        """What each table is about, as a sentence."""
        return "the paper has " + ", ".join(f"Table {table.number} ({table.subject})" for table in self.tables)

    def finding_at(self, place: Place) -> Finding | None:
        """What is wrong with a number."""
        return next((finding for finding in self.findings if place in finding.places), None)


def read_paper(path: Path = FILE) -> Paper:
    """Read tables.yaml."""
    document = read_yaml(path)
    attacks = document["attacks"]
    return Paper(
        source=document["source"],
        select_on=document["select_on"],
        tables=tuple(_table(entry, attacks) for entry in document["tables"]),
        findings=tuple(
            Finding(entry["kind"], frozenset(_places(entry["cells"])), entry["says"].strip())
            for entry in document["findings"]
        ),
    )


def _table(entry: Mapping[str, Any], attacks: list[str]) -> Table:
    rows = {
        method: {
            attack: dict(zip(MEASURES, map(float, numbers), strict=True))
            for attack, numbers in zip(attacks, row, strict=True)
        }
        for method, row in entry["rows"].items()
    }
    return Table(entry["number"], entry["dataset"], entry["architecture"], entry["profile"], entry["tail"], rows)


def _places(cells: list[Mapping[str, Any]]) -> list[Place]:
    return [
        Place(cell["table"], cell["method"], cell["attack"], measure) for cell in cells for measure in cell["measures"]
    ]
