"""The benchmarks behind `bin/bench`. docs/benchmarks.md says how each figure is taken."""
