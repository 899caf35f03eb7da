"""Pictures and players for people."""
