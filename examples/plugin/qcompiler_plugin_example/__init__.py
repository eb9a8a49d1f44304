"""An example plugin of qcompiler; see README.md."""
