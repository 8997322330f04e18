"""docs/results.md with its figures, from what `absld keep` put below docs/results/: `python -m pipeline.results`."""
