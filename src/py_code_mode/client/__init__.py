"""A session on a server, used as if it were here."""
