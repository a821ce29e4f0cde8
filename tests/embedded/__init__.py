"""An embedded PostgreSQL for a checkout that names no other: for development, and so no part of app."""
