"""What runs in the peers' own environments: nothing of explainsvc is imported here."""
