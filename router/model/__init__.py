"""The nouns of the product: frozen, typed, without I/O, clock or log.

All are ``gc=False``: frozen records cannot form cycles, and tens of thousands of open
alerts would otherwise be walked by every full collection (measured: a third of the
time of a flood).
"""
