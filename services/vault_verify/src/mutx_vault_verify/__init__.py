"""What a tenant runs to see that its Vault holds what the release says, and nothing else. It changes nothing there."""
