"""The stages of a run: values (name, needs, keys, tasks, do, finish), and the one loop that completes any of them."""
