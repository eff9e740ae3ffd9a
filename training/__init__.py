"""Dual-teacher pretraining and everything downstream of it; imported as `deo.training`."""
