"""Access to the database: one request is one round trip, one transaction and one user."""


class Unready(Exception):
    """The database is not ready for this code. The message names the reason and the remedy."""
