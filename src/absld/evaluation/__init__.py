"""The measurement of a trained student on the test split: what survived which attack, and what that adds up to."""
