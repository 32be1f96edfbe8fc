"""Summarise a GitHub repository from its public metadata; shows a skill that uses a tool."""

import json

FIELDS = {
    "name": "full_name",
    "description": "description",
    "stars": "stargazers_count",
    "forks": "forks_count",
    "language": "language",
}


def run(repo: str) -> dict:
    """Look a repository up and return what it says of itself.

    Args:
        repo: the repository as "owner/name", such as "python/cpython"

    Returns:
        Its name, description, stars, forks and main language; or {"error": ...} for a bad name.
    """
    if "/" not in repo:
        return {"error": "repo must be in 'owner/repo' format"}
    answer = json.loads(tools.curl(url=f"https://api.github.com/repos/{repo}"))  # noqa: F821 - given to every skill
    return {ours: answer.get(theirs) for ours, theirs in FIELDS.items()}
