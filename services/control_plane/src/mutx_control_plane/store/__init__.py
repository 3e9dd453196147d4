"""What the control plane keeps: its PostgreSQL, and one module for each thing in it."""
