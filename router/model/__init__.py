"""The nouns of the product: frozen, typed, without I/O, clock or log."""
