"""The HTTP contract: endpoints, their parameters, bodies and errors, and the SQL that they run."""
