"""Dual-teacher pretraining and everything downstream of it; imported as `deo.training`."""

from deo.models.forking import compute_alone_when_forked

compute_alone_when_forked()  # baselines and probes compute without a model of ours
