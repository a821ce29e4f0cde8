"""An embedded PostgreSQL for development, used if no DATABASE_URL is set. It is not a part of app."""
