"""The parameters, typed. Nothing here imports torch: the command line stays fast."""
