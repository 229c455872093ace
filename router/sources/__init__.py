"""One file per sender: raw bytes and headers -> verified, typed events. No I/O, no clock."""
