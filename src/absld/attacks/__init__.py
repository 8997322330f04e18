"""Adversarial examples: the walk that trains, and the attacks that measure."""
