"""Anti-bias soft label distillation: small students that are robust for every class."""
