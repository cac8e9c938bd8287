"""The forms, one file each: from pairings or densities to normal equations."""
