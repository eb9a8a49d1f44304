"""The integer kernels: one function per operator that checks an island and gives its call."""
