"""Access to the database: a request takes one round trip and one transaction, as one user."""


class NotReady(Exception):
    """The database is not ready for this code. The message names the reason and the remedy."""
