"""A gang: workers that step one replica together, in epochs, with exact sums after every step."""
