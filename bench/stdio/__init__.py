"""What the stdio front end does per second, and what a client that does not read costs it."""
