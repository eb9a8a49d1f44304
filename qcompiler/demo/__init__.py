"""A small trained network and its data, to see the compiler work: `qcompiler demo`."""
