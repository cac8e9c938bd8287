"""Where tasks run: in this process or on Dask, with progress as plain events."""
