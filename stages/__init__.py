"""The steps of the pipeline: what each reads and writes. No mathematics, no DVC."""
