"""What people type: python -m app, and make."""
