"""What the toolkit itself renders with Jinja2."""
