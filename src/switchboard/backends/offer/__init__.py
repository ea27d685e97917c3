"""What a backend offers: asked for, checked, kept for the fleet, and followed as it changes."""
