"""Pulumi programs and components; each program is a project directory of its own."""
