"""The command line: arguments in, progress and the answer out, every end of a run as one exit code and one line."""
