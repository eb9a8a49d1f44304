"""What outputs of a network are for, and how much noise each of them bears."""
