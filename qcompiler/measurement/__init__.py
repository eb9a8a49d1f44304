"""What runs engines: building candidates, judging, probing and profiling them."""
