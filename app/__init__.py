"""A thin REST API for tasks. PostgreSQL's row security isolates its users."""

__version__ = "1.1.0"  # read by /health, the OpenAPI document and --version
