"""Stand-ins of the vendors: stateful, validating servers on loopback, whose faults a test chooses."""
