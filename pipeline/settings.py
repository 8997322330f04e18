"""`--set KEY=VALUE`: one value of params.yaml is written anew, every other byte of the file stays.

The place is found in YAML's own tree and the text is replaced there: comments, order and fractions like 5/6 stay.
"""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from absld.errors import InputError
from absld.params.yaml_file import first_anchor


def edited(text: str, assignments: Sequence[str]) -> str:
    """The text of params.yaml with each `KEY=VALUE` set, in order. VALUE is YAML: ``4/255``, ``[0, 1]``, ``null``.

    A key that begins with ``*.`` stands for all that end so: ``*.eps`` for the eps of every attack. One value does not
    replace a list among them: the curves have radii of their own.

    Raises:
        InputError: no such key (with the nearest one), or VALUE is no YAML.

    """
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise InputError(f"--set {assignment}: write KEY=VALUE, for example train.max_epochs=2 or data.root=null")
        for one in _meant(text, key.strip(), value.strip()):
            text = _set(text, one, value.strip())
    return text


def _meant(text: str, key: str, value: str) -> list[str]:
    """The key itself, or all that it stands for."""
    if not key.startswith("*."):
        return [key]
    tree = YAML(typ="rt").compose(text)
    known = list(_keys(tree))
    ending = key.removeprefix("*")
    if not (meant := [name for name in known if name.endswith(ending)]):
        raise InputError(f"--set {key}: no key of params.yaml ends so{_hint(key, known)}")
    if isinstance(_parsed(key, value), ScalarNode):
        meant = [name for name in meant if not isinstance(_find(tree, name)[1], SequenceNode)] or meant
    return meant


def _set(text: str, key: str, value: str) -> str:
    new = _parsed(key, value)
    tree = YAML(typ="rt").compose(text)
    name, old = _find(tree, key)
    if isinstance(new, SequenceNode) and new.value and isinstance(old, SequenceNode) and not old.flow_style:
        items = [_source(value, item) for item in new.value]
        indent = " " * old.start_mark.column
        return _splice(text, old.start_mark.index, _end(old), f"\n{indent}".join(f"- {item}" for item in items))
    source = _source(value, new)
    if isinstance(old, ScalarNode) or old.flow_style:
        return _splice(text, old.start_mark.index, _end(old), source, aligned=True)
    line_end = text.index("\n", name.end_mark.index)  # a block goes, the comment beside its key stays
    comment = text[name.end_mark.index + 1 : line_end]
    return _splice(text, name.end_mark.index, _end(old), f": {source}{comment}".rstrip())


def _parsed(key: str, value: str) -> Any:
    try:
        node = YAML(typ="rt").compose(value)
    except YAMLError:
        node = None
    if (
        node is None
        or first_anchor(value) is not None
        or (isinstance(node, MappingNode | SequenceNode) and not node.flow_style)
    ):
        raise InputError(
            f"--set {key}={value}: the value must be YAML on one line, like 0.1, 4/255, null, [0, 1], {{a: 1}}"
        )
    return node


def _find(tree: Any, key: str) -> tuple[Any, Any]:
    """The nodes of a key's name and value."""
    name, node = tree, tree
    for part in key.split("."):
        inside = {entry.value: (entry, held) for entry, held in node.value} if isinstance(node, MappingNode) else {}
        if part not in inside:
            raise InputError(f"--set {key}: params.yaml has no such key{_hint(key, list(_keys(tree)))}")
        name, node = inside[part]
    return name, node


def _hint(key: str, known: Sequence[str]) -> str:
    last = key.rpartition(".")[2]
    near = get_close_matches(key, [k for k in known if k.endswith(f".{last}")], n=1, cutoff=0) or get_close_matches(
        key, known, n=1
    )
    return f", did you mean {near[0]!r}?" if near else "; `absld params show` lists them"


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, MappingNode):
        for name, value in node.value:
            yield f"{prefix}{name.value}"
            yield from _keys(value, f"{prefix}{name.value}.")


def _end(node: Any) -> int:
    """Where the text of a value ends. A block's own mark lies behind the comments that follow it."""
    if isinstance(node, ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def _source(text: str, node: Any) -> str:
    return text[node.start_mark.index : node.end_mark.index]


def _splice(text: str, start: int, end: int, new: str, *, aligned: bool = False) -> str:
    """Put `new` in the place of ``text[start:end]``; `aligned`: a comment beside it stays in its column."""
    before, after = text[:start], text[end:]
    if start == end:  # a key without a value
        new = f" {new}"
    if aligned and (gap := re.match(r" +(?=#)", after)):
        room = len(gap[0]) + (end - start) - len(new)
        after = " " * max(room, 2) + after[gap.end() :]
    return before + new + after
