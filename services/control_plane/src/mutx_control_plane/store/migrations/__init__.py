"""The schema's history: alembic's environment, and one module for each step in `versions`."""
