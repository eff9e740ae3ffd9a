"""Labelled data sets, one file for each layout."""
