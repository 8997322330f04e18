"""Where the robust teacher comes from, and what is written down about it before anything is distilled from it."""
