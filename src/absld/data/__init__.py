"""From a named source of images to three verified splits on disk, and from there to batches on the device."""
