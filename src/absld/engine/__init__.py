"""What executes the steps of a method: plainly, or fast. Both compute the same to rounding."""
