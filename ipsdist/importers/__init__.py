"""Reading what others made: one file a format; every one checks before anything is written."""
