"""The rig of the serving benchmarks: words, catalogue, peers, processes, load and report."""
