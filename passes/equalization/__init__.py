"""Which per-channel scales of a network may be chosen freely, and what choosing them changes."""
