"""Passes that win accuracy back at no cost in speed."""
