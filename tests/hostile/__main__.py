"""Prints the reference page of the hostile suite."""

from hostile.reference import page

print(page(), end="")
