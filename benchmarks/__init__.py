"""The benchmarks: ``python -m benchmarks`` measures side by side, in one run, and checks bounds."""
