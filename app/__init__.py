"""A thin REST API for tasks in which PostgreSQL's row security keeps users apart."""
