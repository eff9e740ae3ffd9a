"""The sensors whose files are understood: one module each, which defines `SENSOR`."""
