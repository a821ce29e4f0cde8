"""The contract: what is asked and answered over HTTP, and the SQL behind it."""
