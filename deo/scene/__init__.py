"""One place at one time: bands by name on one grid, read window by window."""
