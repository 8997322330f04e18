"""The training methods: one file each, the paper's equation on top and the same symbols below."""
