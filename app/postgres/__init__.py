"""One request, one round trip, one transaction, one identity."""
