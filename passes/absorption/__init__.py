"""From a quantized graph back to a float one, with what its author decided kept."""
