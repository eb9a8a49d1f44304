"""What to choose, from numbers alone: costs, predicted losses, objectives, the integer program."""
