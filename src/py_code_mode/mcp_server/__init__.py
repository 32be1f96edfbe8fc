"""A session as a Model Context Protocol server: any MCP client gives its model a place to code."""
