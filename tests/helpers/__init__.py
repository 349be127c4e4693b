"""What several tests need: references, random checkpoints, node."""
