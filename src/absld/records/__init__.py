"""The files that a stage leaves behind: how they are written, read and named."""
