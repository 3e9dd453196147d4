"""The platform stack: what all tenants share. The engine has this directory, never its parent, on the import path."""
