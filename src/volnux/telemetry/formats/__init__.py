"""How records look elsewhere, and where that is; imports nothing."""
