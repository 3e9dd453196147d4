"""What every HTTP service on a tenant's hosts shares."""
