"""What `make bench` runs: each module is one measurement."""
