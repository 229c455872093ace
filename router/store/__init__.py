"""Redis: the inbox, leases, the commit script, reading, and the embedded server."""
