"""What exists: pure, immutable, no await."""
