"""What an attempt does next: pure decisions over a snapshot, one per tick."""
