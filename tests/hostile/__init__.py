"""What a guest tries from inside a session, and the proof that none of it had an effect."""
