"""What comes after pretraining: evaluating, tuning, predicting."""
