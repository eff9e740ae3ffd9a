"""Labelled data sets, one module per published layout.

A module that defines `PUBLISHED`, a tuple of `Benchmark`, is in the catalogue; nothing else lists
it.
"""
