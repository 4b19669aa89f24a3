"""Speed of this project beside other libraries on the same job: `python -m benchmarks`."""
