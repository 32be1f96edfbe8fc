"""The session server: the product's front door over HTTP."""
