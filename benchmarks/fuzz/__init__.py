"""Mutated files of every kind that is read, see `benchmarks.fuzz_files`."""
