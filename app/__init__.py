"""A thin REST API for tasks in which PostgreSQL's row security keeps users apart."""

__version__ = "1.1.0"  # the only place: /health, the OpenAPI document and --version read it
