"""A quantizing graph compiler."""
