"""Bad and odd inputs of every kind, see `benchmarks.odd_inputs`."""
