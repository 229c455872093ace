"""The pure core: what an event means, given what is known. No I/O, no clock, no log."""
