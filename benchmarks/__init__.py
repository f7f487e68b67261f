"""Speed beside other implementations, measured in the same run: `python -m benchmarks`."""
