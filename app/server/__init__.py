"""The HTTP server and its operation: protocol, workers, log and metrics."""
