"""What a pretraining reads: samples, archives, shards."""
