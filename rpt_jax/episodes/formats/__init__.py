"""Formats of datasets, one a file: each reads its own behind `Source`."""
