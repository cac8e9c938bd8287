"""The nouns of the house: frozen values and their algebra, no loops."""
