"""The local page of `deo explore`: look at features, label places, see a map at once."""
