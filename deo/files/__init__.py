"""Files: written whole, one run at a time, and what tells two runs apart."""
