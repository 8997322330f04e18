"""The paper's tables beside the runs that there are: docs/compare-with-the-paper.md."""
