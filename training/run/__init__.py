"""A run: its state, step, schedules, checkpoints, journal, export."""
