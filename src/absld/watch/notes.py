"""A page as the description of a run: MLflow keeps it in a tag, which holds only so much."""

LONGEST = 8000
"""Characters that a tag holds."""
SHORTENED = (
    "\n\n**Shortened: MLflow holds {longest:,} characters here. The whole page is the artifact `{name}` of this run.**"
)
FENCE = "```"


def note_of(text: str, name: str) -> str:
    """The page `name` whole; or what fits of it, cut between two lines, and a sentence that says so."""
    if len(text) <= LONGEST:
        return text
    ending = SHORTENED.format(longest=LONGEST, name=name)
    kept = text[: LONGEST - len(ending) + 1].rpartition("\n")[0]
    if kept.count(FENCE) % 2:  # inside a listing the sentence would be part of it
        kept = kept.rpartition(FENCE)[0]
    return kept.rstrip() + ending
