"""From normal equations to a kernel, and how far to trust it: selections, errors, energies, distances."""
