"""Whether a run's files have all that a report reads: those that an older version wrote may not."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Shape: TypeAlias = Mapping[str, "Shape"]
"""The keys that must be there, and what must be below each; `*` is every key that is there."""


def _keys(*names: str) -> dict[str, Shape]:
    return {name: {} for name in names}


_MEASURES = _keys("average", "micro", "worst", "worst10", "overall", "per_class")
_BLOCK = {
    "accuracy": {**_MEASURES, "nsd": {}},
    "interval95": _MEASURES,
    **_keys("confusion", "n", "settings"),
}
_POINTS = {"*": _keys("value", "average", "worst", "n", "settings")}
STATE: Shape = {**_keys("best_epoch", "epochs", "select_on", "settings", "state"), "train": _keys("validation")}
EVALUATION: Shape = {
    **_keys("dataset", "classes"),
    "threat_model": _keys("eps", "eps_text"),
    "attacks": {"*": _BLOCK},
    "last": {"*": _BLOCK},
    "checks": {"*": _keys("passed", "detail")},
    "curves": {"*": _POINTS},
}
CARD: Shape = {
    "student": _keys("architecture", "parameters"),
    "data": {"counts": _keys("train", "validation", "test")},
    "file": _keys("name", "bytes", "sha256"),
    "parity": _keys("images", "labels_tolerated", "max_difference"),
}


def missing(content: Any, shape: Shape) -> Iterator[str]:
    """The dotted keys of `shape` that JSON `content` lacks. Null, where a block may stand, lacks nothing."""
    for key, below in shape.items():
        if key == "*":
            parts = enumerate(content) if isinstance(content, list) else (content or {}).items()
            for name, part in parts:
                yield from (f"{name}.{lacks}" for lacks in missing(part, below))
        elif not isinstance(content, dict) or key not in content:
            yield key
        else:
            yield from (f"{key}.{lacks}" for lacks in missing(content[key], below))
