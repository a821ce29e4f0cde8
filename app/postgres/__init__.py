"""One request, one round trip, one transaction, one identity."""


class Unready(Exception):
    """Why the database is not what this code needs, and what to do."""
