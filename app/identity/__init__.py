"""Who calls: verifies tokens, knows no database."""
