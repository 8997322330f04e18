"""Names of classes as MLflow takes them: it refuses some characters and reads others as folders."""

import re
from collections.abc import Iterable

from absld.records.history import Row

REFUSED = re.compile(r"[^\w.\- ]")
LONGEST = 200
"""MLflow takes keys of 250 characters; the rest is for the quantity's name."""


class ClassNames:
    """The same class has the same name in every session, as long as the classes come in the same order."""

    def __init__(self, classes: Iterable[str]) -> None:
        self.stored: dict[str, str] = {}
        for name in classes:
            plain = REFUSED.sub("_", name)[:LONGEST].strip(" .") or "_"
            taken, unique, number = set(self.stored.values()), plain, 1
            while unique in taken:
                number += 1
                unique = f"{plain}_{number}"
            self.stored[name] = unique

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "ClassNames":
        """The classes of a history, in the order of their first row."""
        return cls(dict.fromkeys(row.class_name for row in rows if row.class_name))

    @property
    def changed(self) -> dict[str, str]:
        """MLflow's name to the class's own, where they differ."""
        return {stored: name for name, stored in self.stored.items() if stored != name}

    def key(self, quantity: str, class_name: str) -> str:
        """The name of a metric."""
        return f"{quantity}/{self.stored[class_name]}" if class_name else quantity
