"""The loops: the door, the partitions, the deliveries. The only place that orders steps."""
