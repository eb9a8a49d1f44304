"""Files in and out: one way to read with errors of ours, one way to write whole or not at all."""
